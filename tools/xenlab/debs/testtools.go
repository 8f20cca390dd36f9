package debs

// TestTools are the real clients and peers that unit tests run against, and the
// C compiler that the race detector needs.
var TestTools = []Tool{
	{"swtpm_ioctl", "swtpm-tools"},
	{"certtool", "gnutls-bin"},
	{"tpm2_getcap", "tpm2-tools"},
	{"tssgetcapability", "tss2"},
	{"ssh-keygen", "openssh-client"},
	{"openssl", "openssl"},
	{"xz", "xz-utils"},
	{"gcc", "build-essential"},
	{"/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"},
}
