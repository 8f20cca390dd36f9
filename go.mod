module xenvtpm

go 1.26.4

require (
	filippo.io/bigmod v0.1.0
	filippo.io/mldsa v1.0.0
	filippo.io/nistec v0.0.4
	github.com/elastic/go-seccomp-bpf v1.6.0
	github.com/google/go-tpm v0.9.8
	github.com/u-root/u-root v0.16.0
	golang.org/x/crypto v0.58.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/dustin/go-humanize v1.0.1 // indirect
	github.com/pierrec/lz4/v4 v4.1.22 // indirect
	github.com/u-root/uio v0.0.0-20240224005618-d2acac8f3701 // indirect
	github.com/usbarmory/tamago v1.26.4 // indirect
	golang.org/x/net v0.60.0 // indirect
)

tool github.com/usbarmory/tamago/cmd/tamago
