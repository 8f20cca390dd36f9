package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"

	"xenvtpm/drivers/tpmid"
	"xenvtpm/tools/vtpmd/options"
	"xenvtpm/tools/vtpmd/ptm"
	"xenvtpm/tools/vtpmd/statefile"
	"xenvtpm/vtpm-stub/tpm2"
)

// protocolVersion is the swtpm release whose protocol is spoken.
const protocolVersion = "0.7.1"

// features are the words of --print-capabilities that hold here.
var features = []string{
	"tpm-2.0", "tpm-send-command-header", "flags-opt-startup", "cmdarg-seccomp", "cmdarg-key-fd", "cmdarg-pwd-fd",
	"cmdarg-print-states", "cmdarg-profile", "cmdarg-print-profiles", "profile-opt-remove-disabled", "nvram-backend-dir", "nvram-backend-file", "rsa-keysize-1024", "rsa-keysize-2048", "rsa-keysize-3072", "rsa-keysize-4096",
}

// printCapabilities writes what swtpm --print-capabilities does, in its layout, which scripts
// search with grep.
func printCapabilities(w io.Writer) error {
	quoted := make([]string, len(features))
	for i, f := range features {
		quoted[i] = strconv.Quote(f)
	}
	names, err := json.Marshal(tpm2.ProfileNames())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `{ "type": "swtpm", "features": [ %s ], "profiles": { "names": %s }, "version": %q }`+"\n", strings.Join(quoted, ", "), names, protocolVersion)
	return err
}

// printStates tells which state there is, as swtpm --print-states does: without a line's end.
func printStates(o *options.Options, w io.Writer) error {
	sizes, err := stateSizes(o)
	if err != nil {
		return err
	}
	var states []string
	for _, k := range []struct {
		kind statefile.Kind
		name string
	}{{statefile.Permanent, "permall"}, {statefile.Volatile, "volatilestate"}} {
		if n, ok := sizes[k.kind]; ok {
			states = append(states, fmt.Sprintf(` {"name": %q, "size": %d}`, k.name, n))
		}
	}
	list := strings.Join(states, ",")
	if list != "" {
		list += " "
	}
	_, err = fmt.Fprintf(w, `{ "type": "swtpm", "states": [%s] }`, list)
	return err
}

func stateSizes(o *options.Options) (map[statefile.Kind]int64, error) {
	if o.StateFile == "" {
		return statefile.Peek(stateOptions(o, nil))
	}
	l, err := statefile.OpenLinear(o.StateFile, statefile.Options{}, 0)
	if err != nil {
		return nil, err
	}
	return l.Sizes(), l.Close()
}

// infoText is the text of GetInfo, in swtpm's order.
type infoText struct {
	TPMSpecification *specification `json:",omitempty"`
	TPMAttributes    *attributes    `json:",omitempty"`
	TPMFeatures      *keySizes      `json:",omitempty"`
}

type specification struct {
	Family   string `json:"family"`
	Level    int    `json:"level"`
	Revision uint32 `json:"revision"`
}

type attributes struct {
	Manufacturer string `json:"manufacturer"`
	Version      string `json:"version"`
	Model        string `json:"model"`
}

type keySizes struct{ RSAKeySizes, CamelliaKeySizes []int }

// info is the text of the control channel's GetInfo for a TPM with a profile.
func info(flags uint64, p *tpm2.Profile) string {
	var t infoText
	if flags&ptm.InfoTPMSpecification != 0 {
		t.TPMSpecification = &specification{Family: "2.0", Revision: p.Specification().Revision}
	}
	if flags&ptm.InfoTPMAttributes != 0 {
		t.TPMAttributes = &attributes{tpmid.CertManufacturer(), tpmid.CertVersion(), tpmid.Model}
	}
	if flags&ptm.InfoTPMFeatures != 0 {
		t.TPMFeatures = &keySizes{p.RSAKeySizes(), p.CamelliaKeySizes()}
	}
	text, err := json.Marshal(t)
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
