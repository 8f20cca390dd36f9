package clienttest

import (
	"crypto"
	_ "crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// tools are IBM's TSS tools with a vtpmd of their own.
type tools struct {
	client
	data int // TCP port
}

func (x *tools) port() string { return fmt.Sprint(x.data) }

func sum(h crypto.Hash, parts ...string) string {
	w := h.New()
	for _, p := range parts {
		_, _ = w.Write([]byte(p)) // never fails
	}
	return string(w.Sum(nil))
}

// newTSS returns IBM's TSS tools, each of which talks to the socket as to a simulator's raw port.
func newTSS(t *testing.T) *tools {
	t.Helper()
	need(t, "tsscreateprimary", "openssl")
	t.Parallel()
	d := start(t)
	dir := t.TempDir()
	env := []string{"TPM_INTERFACE_TYPE=socsim", "TPM_SERVER_TYPE=raw", "TPM_SERVER_NAME=127.0.0.1", fmt.Sprintf("TPM_COMMAND_PORT=%d", d.port),
		fmt.Sprintf("TPM_PLATFORM_PORT=%d", d.port+1), "TPM_DATA_DIR=" + dir, "TPM_ENCRYPT_SESSIONS=0", "LC_ALL=C"}
	return &tools{client{t: t, dir: dir, env: env}, d.port}
}

// tss runs lines; objects and sessions stay loaded, their handles are known: a
// TPM gives the lowest free one.
func (x *tools) tss(lines ...string) string {
	x.t.Helper()
	var out string
	for _, l := range lines {
		f := strings.Fields(l)
		out = x.run(f[0], f[1:]...)
	}
	return out
}

func (x *tools) tssFails(text, line string) {
	x.t.Helper()
	f := strings.Fields(line)
	x.fails(text, f[0], f[1:]...)
}

func TestTSSBasics(t *testing.T) {
	x := newTSS(t)
	x.tss("tssgetrandom -by 16", "tssgetcapability -cap 6", "tssgetcapability -cap 0", "tssgetcapability -cap 2", "tssgetcapability -cap 8", "tssreadclock",
		"tsspcrextend -ha 16 -ic test", "tsspcrread -ha 16", "tsspcrreset -ha 16", "tssclockrateadjust -hi o -adj 0")
	x.write("msg", "abc")
	out := x.tss("tsshash -hi o -halg sha256 -if msg -oh digest")
	if x.read("digest") != sum(crypto.SHA256, "abc") {
		t.Errorf("hash %x: %s", x.read("digest"), out)
	}
	x.tss("tsshashsequencestart -halg sha256", "tsssequenceupdate -hs 80000000 -if msg", "tsssequencecomplete -hs 80000000 -of seq")
	if x.read("seq") != sum(crypto.SHA256, "abc") {
		t.Errorf("sequence %x", x.read("seq"))
	}
}

func TestTSSKeys(t *testing.T) {
	x := newTSS(t)
	x.write("msg", "a message")
	x.tss("tsscreateprimary -hi o -pwdk sto -ecc nistp256", // 80000000
		"tsscreate -hp 80000000 -si -ecc nistp256 -pwdp sto -pwdk sig -opr k.priv -opu k.pub", "tssload -hp 80000000 -pwdp sto -ipr k.priv -ipu k.pub", // 80000001
		"tsssign -hk 80000001 -halg sha256 -ecc -if msg -os sig -pwdk sig", "tssverifysignature -hk 80000001 -halg sha256 -ecc -if msg -is sig")
	x.tssFails("TPM_RC_BAD_AUTH", "tsssign -hk 80000001 -halg sha256 -ecc -if msg -os no -pwdk wrong")
	x.tss("tssflushcontext -ha 80000001",
		"tsscreate -hp 80000000 -si -rsa -pwdp sto -pwdk sig -opr k.priv -opu k.pub -opem k.pem", "tssload -hp 80000000 -pwdp sto -ipr k.priv -ipu k.pub",
		"tsssign -hk 80000001 -halg sha256 -if msg -os sig -pwdk sig", "tssverifysignature -ipem k.pem -halg sha256 -if msg -is sig",
		"tssverifysignature -hk 80000001 -halg sha256 -if msg -is sig",
		"tsscontextsave -ha 80000001 -of ctx", "tssflushcontext -ha 80000001", "tsscontextload -if ctx", "tssreadpublic -ho 80000001",
		"tssevictcontrol -hi o -ho 80000001 -hp 81000001", "tssquote -hp 16 -hk 81000001 -pwdk sig -halg sha256 -os q.sig -oa q.att",
		"tssevictcontrol -hi o -ho 81000001 -hp 81000001")
}

// Sessions: HMAC, salted, bound, with parameter encryption (AES and XOR).
func TestTSSSessions(t *testing.T) {
	x := newTSS(t)
	x.write("secret", "sealed data")
	x.tss("tsscreateprimary -hi o -pwdk sto -rsa") // 80000000
	for _, s := range []string{"-se h", "-se h -sym xor", "-se h -hs 80000000", "-se h -bi 80000000 -pwdb sto", "-se h -halg sha384 -sym xor"} {
		x.tss("tssstartauthsession "+s, "tsscreate -hp 80000000 -bl -kt f -kt p -if secret -pwdp sto -pwdk dat -opr s.priv -opu s.pub -se0 02000000 21",
			"tssload -hp 80000000 -pwdp sto -ipr s.priv -ipu s.pub -se0 02000000 61", "tssunseal -ha 80000001 -pwd dat -of out -se0 02000000 41")
		x.same("secret", "out")
		x.tssFails("TPM_RC_BAD_AUTH", "tssunseal -ha 80000001 -pwd wrong -of no -se0 02000000 41")
		x.tss("tssflushcontext -ha 02000000", "tssflushcontext -ha 80000001")
	}
}

func TestTSSPolicy(t *testing.T) {
	x := newTSS(t)
	x.write("secret", "sealed data")
	x.tss("tsscreateprimary -hi o", "tssstartauthsession -se t", "tsspolicypcr -ha 03000000 -halg sha256 -bm 10000", "tsspolicycommandcode -ha 03000000 -cc 15e",
		"tsspolicygetdigest -ha 03000000 -of policy", "tssflushcontext -ha 03000000")
	x.tss("tsscreate -hp 80000000 -bl -kt f -kt p -if secret -opr s.priv -opu s.pub -pol policy -uwa", "tssload -hp 80000000 -ipr s.priv -ipu s.pub",
		"tssstartauthsession -se p", "tsspolicypcr -ha 03000000 -halg sha256 -bm 10000", "tsspolicycommandcode -ha 03000000 -cc 15e",
		"tssunseal -ha 80000001 -of out -se0 03000000 1")
	x.same("secret", "out")
	x.tss("tsspolicyrestart -ha 03000000")
	x.tssFails("TPM_RC_POLICY_FAIL", "tssunseal -ha 80000001 -of no -se0 03000000 1")
	if got := hex.EncodeToString([]byte(x.read("policy"))); len(got) != 64 {
		t.Errorf("policy %s", got)
	}
}

func TestTSSNV(t *testing.T) {
	x := newTSS(t)
	x.write("data", "0123456789abcdef")
	x.tss("tssnvdefinespace -hi o -ha 01000000 -pwdn nnn -sz 16", "tssnvwrite -ha 01000000 -pwdn nnn -if data",
		"tssnvread -ha 01000000 -pwdn nnn -sz 16 -of out")
	x.same("data", "out")
	x.tssFails("TPM_RC_BAD_AUTH", "tssnvread -ha 01000000 -pwdn wrong -sz 16")
	x.tss("tssnvreadpublic -ha 01000000", "tssnvundefinespace -hi o -ha 01000000",
		"tssnvdefinespace -hi o -ha 01000001 -ty c", "tssnvincrement -ha 01000001", "tssnvread -ha 01000001 -sz 8",
		"tssnvdefinespace -hi o -ha 01000002 -ty b", "tssnvsetbits -ha 01000002 -bit 3", "tssnvread -ha 01000002 -sz 8",
		"tssnvdefinespace -hi o -ha 01000003 -ty e", "tssnvextend -ha 01000003 -if data", "tssnvread -ha 01000003 -sz 32 -of out")
	if want := sum(crypto.SHA256, string(make([]byte, 32)), x.read("data")); x.read("out") != want {
		t.Errorf("extended to %x", x.read("out"))
	}
}
