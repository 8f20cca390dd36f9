package manifest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func good() *Manifest {
	gz := Sum("vtpm-stub.gz", []byte("packed"))
	return &Manifest{Format: Format, Version: "1.0.0", Expires: "2030-01-01T00:00:00Z", Commit: "c0ffee",
		Toolchain: Toolchain{Go: "go1.26.8-tamago.x", SDK: "go1.26.8", Port: "ab", Tamago: "v1.26.4"},
		Flags:     []string{"-trimpath"},
		Images:    []Image{{Digest: Sum("vtpm-stub", []byte("image")), PVHEntry: "0x101000", Package: "xenvtpm/vtpm-stub", Gzip: &gz}},
		Modules:   []Module{{"example.org/m", "v1.2.3", "h1:x"}},
		Files:     []Digest{Sum(SBOMFile, []byte("{}"))},
		Host:      []HostFile{{Sum("sbin/vtpmctl", []byte("tool")), "0755"}, {Sum("share/man/man8/vtpmctl.8", []byte(".TH")), "0644"}},
		Trust:     []Digest{Sum("allowed_signers", []byte("a key"))}}
}

func TestRoundTrip(t *testing.T) {
	b, err := good().Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Encode()
	if err != nil || string(again) != string(b) {
		t.Errorf("%v\n%s\n%s", err, b, again)
	}
	if len(m.Digests()) != 3 || m.Image("vtpm-stub") == nil || m.Image("vtpm-stub.gz") != nil {
		t.Errorf("digests %v", m.Digests())
	}
	if want := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC); !m.ExpiresAt().Equal(want) {
		t.Errorf("expires %v", m.ExpiresAt())
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Manifest){
		"format":              func(m *Manifest) { m.Format = "xen-vtpm-images/9" },
		"version":             func(m *Manifest) { m.Version = "1.0" },
		"expires":             func(m *Manifest) { m.Expires = "tomorrow" },
		"no images":           func(m *Manifest) { m.Images = nil },
		"entry":               func(m *Manifest) { m.Images[0].PVHEntry = "101000" },
		"gzip name":           func(m *Manifest) { m.Images[0].Gzip.Name = "other.gz" },
		"path":                func(m *Manifest) { m.Files[0].Name = "../passwd" },
		"absolute path":       func(m *Manifest) { m.Files[0].Name = "/etc/passwd" },
		"hidden":              func(m *Manifest) { m.Files[0].Name = ".x" },
		"empty name":          func(m *Manifest) { m.Files[0].Name = "" },
		"newline in name":     func(m *Manifest) { m.Files[0].Name = "a\nb" },
		"manifest in itself":  func(m *Manifest) { m.Files[0].Name = File },
		"signature in itself": func(m *Manifest) { m.Files[0].Name = File + ".x.sig" },
		"twice":               func(m *Manifest) { m.Files[0].Name = "vtpm-stub" },
		"empty file":          func(m *Manifest) { m.Files[0].Size = 0 },
		"negative size":       func(m *Manifest) { m.Files[0].Size = -1 },
		"huge":                func(m *Manifest) { m.Files[0].Size = MaxImage + 1 },
		"short digest":        func(m *Manifest) { m.Files[0].SHA256 = "ab" },
		"upper case digest":   func(m *Manifest) { m.Files[0].SHA384 = strings.ToUpper(m.Files[0].SHA384) },
		"no commit":           func(m *Manifest) { m.Commit = "" },
		"no go":               func(m *Manifest) { m.Toolchain.Go = "" },
		"no contract":         func(m *Manifest) { m.Toolchain.Tamago = "" },
		"no package":          func(m *Manifest) { m.Images[0].Package = "" },
		"module without hash": func(m *Manifest) { m.Modules[0].Sum = "" },
		"no SBOM":             func(m *Manifest) { m.Files = nil },
		"host: elsewhere":     func(m *Manifest) { m.Host[0].Name = "lib/xenvtpm/vtpm-stub" },
		"host: absolute":      func(m *Manifest) { m.Host[0].Name = "/sbin/init" },
		"host: upwards":       func(m *Manifest) { m.Host[0].Name = "sbin/../../etc/passwd" },
		"host: hidden":        func(m *Manifest) { m.Host[0].Name = "sbin/.x" },
		"host: a folder":      func(m *Manifest) { m.Host[0].Name = "sbin/" },
		"host: twice":         func(m *Manifest) { m.Host[1].Name = m.Host[0].Name },
		"host: setuid":        func(m *Manifest) { m.Host[0].Mode = "4755" },
		"host: no mode":       func(m *Manifest) { m.Host[0].Mode = "" },
		"host: no digest":     func(m *Manifest) { m.Host[0].SHA256 = "" },
		"host in format 1":    func(m *Manifest) { m.Format = Format1 },
		"trust: other file":   func(m *Manifest) { m.Trust[0].Name = "authorized_keys" },
		"trust: no signers":   func(m *Manifest) { m.Trust[0].Name = "rules.json" },
		"trust: no digest":    func(m *Manifest) { m.Trust[0].SHA384 = "" },
		"no digest":           func(m *Manifest) { m.Files[0].SHA384 = "" },
	} {
		m := good()
		change(m)
		if err := m.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	b, err := good().Encode()
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, bad := range map[string]string{
		"empty":         "",
		"not JSON":      "x",
		"cut":           text[:len(text)/2],
		"text behind":   text + "{}",
		"unknown field": strings.Replace(text, `"commit"`, `"comment"`, 1),
		"wrong type":    strings.Replace(text, `"1.0.0"`, `1`, 1),
		"huge":          text + strings.Repeat(" ", MaxSize),
	} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDigestCheck(t *testing.T) {
	d := Sum("x", []byte("abc"))
	if d.SHA256 != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" || !strings.HasPrefix(d.SHA384, "cb00753f45a35e8b") || d.Size != 3 {
		t.Errorf("%+v", d)
	}
	if err := d.Check([]byte("abc")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "abd", "abcd"} {
		if d.Check([]byte(bad)) == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	d.SHA384 = Sum("x", []byte("abd")).SHA384
	if d.Check([]byte("abc")) == nil {
		t.Error("the SHA-384 is not checked")
	}
}

// The order of semver.org 2.0, item 11, and its neighbours.
func TestVersionOrder(t *testing.T) {
	order := []string{"0.0.0-dev", "0.0.0", "0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
		"1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0", "10.0.0"}
	for i, a := range order {
		for j, b := range order {
			va, err := ParseVersion(a)
			if err != nil {
				t.Fatal(err)
			}
			vb, err := ParseVersion(b)
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := va.Compare(vb); got != want {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
	for _, bad := range []string{"", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.2.3+x", "1.2.x", "1.2.9999999999", " 1.2.3", "1.2.3\n"} {
		if _, err := ParseVersion(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestMeasure(t *testing.T) {
	got := Measure([]byte("abc"))
	want := map[string]string{
		"sha1":   "a9993e364706816aba3e25717850c26c9cd0d89d",
		"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	}
	if len(got) != 4 {
		t.Fatalf("%d banks", len(got))
	}
	for _, m := range got {
		if w := want[m.Bank]; w != "" && m.Digest != w {
			t.Errorf("%s: %s", m.Bank, m.Digest)
		}
		if len(m.PCR) != len(m.Digest) || m.PCR == m.Digest {
			t.Errorf("%s: PCR %s", m.Bank, m.PCR)
		}
	}
	// printf '%064d%s' 0 ba7816...15ad | xxd -r -p | sha256sum
	if got[1].PCR != "589f9ffed4c477966bfb8d41f37895b08c69047df8f911d6f3b57fbe08faee8d" {
		t.Errorf("SHA-256 PCR is %s", got[1].PCR)
	}
}

func TestSBOM(t *testing.T) {
	b, err := SBOM(good(), map[string][]string{"vtpm-stub": {"example.org/m"}})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		BOMFormat   string
		SpecVersion string
		Components  []struct {
			Ref, Name, PURL string
			BOMRef          string `json:"bom-ref"`
		}
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	refs := map[string]bool{"xen-vtpm-images": true}
	for _, c := range doc.Components {
		if refs[c.BOMRef] {
			t.Errorf("%s twice", c.BOMRef)
		}
		refs[c.BOMRef] = true
	}
	edges := 0
	for _, d := range doc.Dependencies {
		for _, on := range append(d.DependsOn, d.Ref) {
			edges++
			if !refs[on] {
				t.Errorf("%s names %q, which is no component", d.Ref, on)
			}
		}
	}
	if doc.BOMFormat != "CycloneDX" || doc.SpecVersion != "1.5" || len(doc.Components) != 3 || edges != 5 {
		t.Errorf("%d components, %d references\n%s", len(doc.Components), edges, b)
	}
	if strings.Contains(string(b), "timestamp") || strings.Contains(string(b), "serialNumber") {
		t.Error("the bill of materials has something that is new each time")
	}
}

func FuzzDecode(f *testing.F) {
	b, err := good().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"xen-vtpm-images/1","version":"1.0.0","images":[{"name":"a"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("accepted and not encodable: %v", err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("not readable again: %v", err)
		}
		for _, d := range m.Digests() {
			if strings.ContainsAny(d.Name, "/\\\n") || d.Name == ".." {
				t.Fatalf("name %q", d.Name)
			}
		}
	})
}
