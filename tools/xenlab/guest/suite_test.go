package guest

import (
	"testing"

	"xenvtpm/tools/tpm2tools"
)

func TestFamiliesOfTheSuite(t *testing.T) {
	s := &Session{params: map[string]string{}}
	all := s.families()
	if len(all) != len(tpm2tools.Families())+1 {
		t.Fatalf("%d families", len(all))
	}
	// The last family gives the TPM another endorsement key, to which the certificate does not belong.
	if all[len(all)-2].Name != tpm2tools.EKCertificate().Name || all[len(all)-1].Name != "hierarchies" {
		t.Errorf("the last ones are %s, %s", all[len(all)-2].Name, all[len(all)-1].Name)
	}
	seen := make(map[string]bool)
	for _, f := range all {
		if f.Name == "" || f.About == "" || seen[f.Name] {
			t.Errorf("family %q, %q: nameless, or the second of its name", f.Name, f.About)
		}
		seen[f.Name] = true
	}
	s.params["families"] = "seal,nv"
	if some := s.families(); len(some) != 2 || some[0].Name != "nv" || some[1].Name != "seal" {
		t.Errorf("of seal,nv: %d families", len(some))
	}
}
