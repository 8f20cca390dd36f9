package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"xenvtpm/tools/vtpmd/ptm"
	"xenvtpm/vtpm-stub/tpm2"
)

// protocolVersion is the swtpm release whose protocol is spoken.
const protocolVersion = "0.7.1"

// features are the words of --print-capabilities that hold here.
var features = []string{
	"tpm-2.0", "tpm-send-command-header", "flags-opt-startup", "cmdarg-seccomp", "cmdarg-key-fd", "cmdarg-pwd-fd",
	"cmdarg-print-states", "nvram-backend-dir", "nvram-backend-file", "rsa-keysize-2048", "rsa-keysize-3072", "rsa-keysize-4096",
}

// printCapabilities writes what swtpm --print-capabilities does.
func printCapabilities(w io.Writer) error {
	return json.NewEncoder(w).Encode(map[string]any{"type": "swtpm", "features": features, "version": protocolVersion})
}

// Key sizes, in bits, that GetInfo tells of.
var (
	rsaSizes      = []int{2048, 3072, 4096}
	camelliaSizes = []int{128, 192, 256}
)

// info is the text of the control channel's GetInfo.
func info(flags uint64, rsa1024 bool) string {
	m := map[string]any{}
	if flags&ptm.InfoTPMSpecification != 0 {
		m["TPMSpecification"] = map[string]any{"family": "2.0", "level": 0, "revision": 159}
	}
	if flags&ptm.InfoTPMAttributes != 0 {
		m["TPMAttributes"] = map[string]any{"manufacturer": "id:58454E00", "version": fmt.Sprintf("id:%08X", uint32(tpm2.FirmwareVersion>>32)), "model": "vtpmd"}
	}
	if flags&ptm.InfoTPMFeatures != 0 {
		rsa := rsaSizes
		if rsa1024 {
			rsa = append([]int{1024}, rsa...)
		}
		m["TPMFeatures"] = map[string]any{"RSAKeySizes": rsa, "CamelliaKeySizes": camelliaSizes}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "{}" // strings and numbers always encode
	}
	return string(text)
}

// version is the module's version as the Go toolchain recorded it.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}
