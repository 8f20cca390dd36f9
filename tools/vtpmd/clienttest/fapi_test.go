package clienttest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestFAPIGetInfo: FAPI reads every list of TPM2_GetCapability, and fails on an algorithm that it does
// not know. The default profile has none.
func TestFAPIGetInfo(t *testing.T) {
	need(t, "tss2_getinfo")
	d := start(t)
	c := client{t: t, dir: t.TempDir()}
	for _, folder := range []string{"user", "system", "log"} {
		if err := os.Mkdir(c.path(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.write("fapi.json", fmt.Sprintf(`{"profile_name":"P_ECCP256SHA256","profile_dir":"/etc/tpm2-tss/fapi-profiles/","user_dir":%q,"system_dir":%q,`+
		`"tcti":"swtpm:host=127.0.0.1,port=%d","ek_cert_less":"yes","system_pcrs":[],"log_dir":%q}`, c.path("user"), c.path("system"), d.port, c.path("log")))
	c.env = []string{"TSS2_FAPICONF=" + c.path("fapi.json"), "TSS2_LOG=all+NONE"}
	if out := c.run("tss2_getinfo", "-o", "-"); !strings.Contains(out, "TPM2_ALG_KEYEDHASH") && !strings.Contains(out, "algorithms") {
		t.Errorf("%d octets without the algorithms", len(out))
	}
}
