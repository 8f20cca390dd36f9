package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"xenvtpm/tools/vtpmd/options"
	"xenvtpm/vtpm-stub/tpm2"
)

// TestPrintProfiles: what is printed is taken back, and means the same.
func TestPrintProfiles(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"socket", "--tpm2", "--print-profiles"}, &out, &out); code != 0 {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	var said struct{ AvailableProfiles []json.RawMessage }
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, text := range said.AvailableProfiles {
		p, err := parseProfile(text, false)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		names = append(names, p.Name())
		if named, err := tpm2.ProfileNamed(p.Name()); err != nil || *named != *p {
			t.Errorf("%s is %+v, by name %+v", text, p, named)
		}
	}
	if !slices.Equal(names, []string{"default-v1", "null", "xenvtpm-v1", "custom"}) {
		t.Errorf("%v", names)
	}
	out.Reset()
	if code := run([]string{"socket", "--print-capabilities"}, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	var caps struct {
		Features []string
		Profiles struct{ Names []string }
	}
	if err := json.Unmarshal(out.Bytes(), &caps); err != nil || !slices.Equal(caps.Profiles.Names, names) || !slices.Contains(caps.Features, "cmdarg-profile") {
		t.Errorf("%+v, %v", caps, err)
	}
}

// TestProfileOf: each source of a profile, and what is refused.
func TestProfileOf(t *testing.T) {
	dir := t.TempDir()
	const mine = `{"Name":"custom:mine","StateFormatLevel":2,"Commands":""}`
	file := filepath.Join(dir, "p.json")
	if err := os.WriteFile(file, []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(f.Fd())) // profileOf closes it
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []options.ProfileSpec{{File: file, FD: -1}, {FD: fd}, {JSON: mine, FD: -1}} {
		if p, err := profileOf(&spec); err != nil || p.Name() != "custom:mine" || p.StateFormatLevel() != 2 {
			t.Errorf("%+v: %v, %v", spec, p, err)
		}
	}
	if p, err := profileOf(nil); err != nil || p.Name() != "default-v1" {
		t.Error("default:", err)
	}
	for text, want := range map[string]string{
		`{}`: "no profile", `[]`: "cannot unmarshal", `{"Name":"null"}x`: "something follows", `{"Name":"null","Color":1}`: "unknown field",
		`{"Name":"null","Attributes":"no-sha1-signing"}`: "Attributes", `{"Name":"default-v1","Commands":"0x11f"}`: "cannot be changed",
		`{"Name":"default-v1","StateFormatLevel":6}`: "StateFormatLevel 7", `{"Name":"custom","Algorithms":"sha256"}`: "cannot be left out",
		`{"Name":"xenvtpm-v0"}`: "no profile",
	} {
		if _, err := profileOf(&options.ProfileSpec{JSON: text, FD: -1}); !errors.Is(err, options.ErrUsage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := profileOf(&options.ProfileSpec{File: filepath.Join(dir, "none"), FD: -1}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestFIPSHost: custom without what libcrypto in FIPS mode lacks; what the user restricted stays so.
func TestFIPSHost(t *testing.T) {
	p, err := parseProfile([]byte(`{"Name":"custom"}`), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"tdes", "camellia", "rsaes", "ecc-nist-p192", "ecc-bn-p256", "ecc-bn-p638", "ecc-sm2-p256", "ecc-nist", "ecc-bn", "rsa-min-size=1024"} {
		if slices.Contains(strings.Split(p.Algorithms(), ","), verb) {
			t.Errorf("%s is in %s", verb, p.Algorithms())
		}
	}
	strict := strings.Replace(p.Algorithms(), "rsa-min-size=2048", "rsa-min-size=3072", 1)
	if p, err = parseProfile([]byte(`{"Name":"custom","Algorithms":"`+strict+`"}`), true); err != nil || !strings.Contains(p.Algorithms(), "rsa-min-size=3072") {
		t.Errorf("%v", err)
	}
}

// FuzzProfile: no text does worse than an error.
func FuzzProfile(f *testing.F) {
	for _, name := range tpm2.ProfileNames() {
		p, _ := tpm2.ProfileNamed(name)
		text, _ := json.Marshal(profileText(p))
		f.Add(text, false)
	}
	f.Add([]byte(`{"Name":"custom","Algorithms":"rsa,rsa-min-size=1024","Commands":"0x11f-0x1ff"}`), true)
	f.Fuzz(func(t *testing.T, text []byte, fips bool) {
		if p, err := parseProfile(text, fips); (p == nil) == (err == nil) {
			t.Errorf("%v, %v", p, err)
		}
	})
}
