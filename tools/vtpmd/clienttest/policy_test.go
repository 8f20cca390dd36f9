package clienttest

import (
	"testing"

	"xenvtpm/tools/tpm2tools"
)

// TestToolsPolicies uses every policy command of tpm2-tools in real sessions: what it
// allows happens, and does not happen without it.
func TestToolsPolicies(t *testing.T) {
	need(t, "tpm2", "openssl")
	used := make(map[string]bool)
	for _, f := range tpm2tools.PolicyFamilies() {
		r, err := toolsBench(t).Run(t.Context(), f)
		if err != nil {
			t.Error(err)
		}
		for tool := range r.Tools {
			used[tool] = true
		}
	}
	if t.Failed() {
		return
	}
	for _, name := range []string{"authorize", "authorizenv", "authvalue", "commandcode", "countertimer", "cphash", "duplicationselect", "locality",
		"namehash", "nv", "nvwritten", "or", "password", "pcr", "restart", "secret", "signed", "template", "ticket"} {
		if !used["tpm2_policy"+name] {
			t.Errorf("tpm2_policy%s is not used", name)
		}
	}
}
