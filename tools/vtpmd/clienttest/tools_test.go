package clienttest

import (
	"crypto"
	"crypto/hmac"
	_ "crypto/sha1"
	"crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// tools are Debian's tpm2-tools, with a vtpmd of their own.
type tools struct {
	client
	d    *daemon
	used map[string]bool
}

func newTools(t *testing.T, args ...string) *tools {
	t.Helper()
	need(t, "tpm2", "openssl")
	t.Parallel()
	d := start(t, args...)
	env := []string{fmt.Sprintf("TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=%d", d.port), "TSS2_LOG=all+NONE", "LC_ALL=C"}
	return &tools{client: client{t: t, dir: t.TempDir(), env: env}, d: d}
}

// do runs command lines one after another and returns the last one's output.
// There is no resource manager, so what each leaves loaded is flushed.
func (x *tools) do(lines ...string) string {
	x.t.Helper()
	var out string
	for _, l := range lines {
		f := strings.Fields(l)
		out = x.run(f[0], f[1:]...)
		x.flush()
	}
	return out
}

// deny wants a command line to fail with a TPM response code, in hexadecimal as tpm2-tools prints it.
func (x *tools) deny(rc, line string) {
	x.t.Helper()
	f := strings.Fields(line)
	env := x.env
	x.env = append(append([]string(nil), env...), "TSS2_LOG=all+ERROR")
	x.fails("("+rc+")", f[0], f[1:]...)
	x.env = env
	x.flush()
}

// flush removes all transient objects and all loaded sessions: the tools save
// those that they mean to keep, and leave some behind after errors.
func (x *tools) flush() {
	x.t.Helper()
	c := x.d.dial(x.t)
	defer func() { _ = c.Close() }() // only after answers
	for _, first := range []uint32{0x80000000, 0x02000000} {
		rsp := mustSend(x.t, c, capability(1, first, 64))
		for i := range int(binary.BigEndian.Uint32(rsp[15:])) {
			mustSend(x.t, c, flushContext(binary.BigEndian.Uint32(rsp[19+4*i:])))
		}
	}
}

func capability(kind, property, count uint32) []byte {
	cmd := []byte{0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a}
	for _, v := range []uint32{kind, property, count} {
		cmd = binary.BigEndian.AppendUint32(cmd, v)
	}
	return cmd
}

func flushContext(h uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65}, h)
}

// has wants a text in an output.
func (x *tools) has(out string, texts ...string) {
	x.t.Helper()
	for _, s := range texts {
		if !strings.Contains(out, s) {
			x.t.Fatalf("no %q in:\n%s", s, out)
		}
	}
}

var hashes = map[string]crypto.Hash{"sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

func sum(h crypto.Hash, parts ...string) string {
	w := h.New()
	for _, p := range parts {
		_, _ = w.Write([]byte(p)) // never fails
	}
	return string(w.Sum(nil))
}

func TestToolsCapabilities(t *testing.T) {
	x := newTools(t)
	for kind := range strings.FieldsSeq(x.do("tpm2_getcap -l")) {
		if kind != "-" {
			x.do("tpm2_getcap " + kind)
		}
	}
	x.has(x.do("tpm2_getcap properties-fixed"), "TPM2_PT_FAMILY_INDICATOR", `value: "2.0"`, "TPM2_PT_REVISION")
	x.has(x.do("tpm2_getcap algorithms"), "rsa:", "sha256:", "ecdaa:", "cfb:", "keyedhash:", "kdf1_sp800_108:")
	x.has(x.do("tpm2_getcap commands"), "TPM2_CC_NV_UndefineSpaceSpecial", "TPM2_CC_PolicyAuthorizeNV", "TPM2_CC_CreateLoaded")
	x.has(x.do("tpm2_getcap ecc-curves"), "TPM2_ECC_NIST_P256", "TPM2_ECC_NIST_P521")
	x.has(x.do("tpm2_getcap pcrs"), "sha256", "sha384")
	x.do("tpm2_testparms rsa2048", "tpm2_testparms ecc256", "tpm2_testparms aes128cfb")
	x.fails("Unsupported algorithm", "tpm2_testparms", "rsa1024") // off by default
}

func TestToolsBasics(t *testing.T) {
	x := newTools(t)
	x.do("tpm2_selftest", "tpm2_selftest -f", "tpm2_incrementalselftest sha256 rsa aes", "tpm2_gettestresult")
	if a, b := x.do("tpm2_getrandom --hex 32"), x.do("tpm2_getrandom --hex 32"); len(a) != 64 || a == b {
		t.Errorf("random: %q, %q", a, b)
	}
	x.write("seed", "some additional data")
	x.do("tpm2_stirrandom seed")
	x.has(x.do("tpm2_readclock"), "clock:", "reset_count:", "safe: yes")
	x.do("tpm2_setclock 90000000")
	x.has(x.do("tpm2_readclock"), "clock: 900")
	x.deny("0x1C4", "tpm2_setclock 1000")
	x.do("tpm2_clockrateadjust ff", "tpm2_clockrateadjust ss")
	x.do("tpm2_shutdown -c", "tpm2_shutdown")
	x.do("tpm2_startup -c") // the tool takes TPM_RC_INITIALIZE for success
	x.has(x.do("tpm2_getcap properties-variable"), "TPM2_PT_PERMANENT:")
}

func TestToolsHash(t *testing.T) {
	x := newTools(t)
	long := strings.Repeat("a long message ", 500) // needs a sequence
	for name, h := range hashes {
		for _, msg := range []string{"abc", long} {
			x.write("msg", msg)
			x.do("tpm2_hash -C o -g " + name + " -o out -t ticket msg")
			if x.read("out") != sum(h, msg) {
				t.Errorf("%s of %d octets is wrong", name, len(msg))
			}
		}
	}
	x.write("key", "0123456789abcdef0123456789abcdef")
	x.do("tpm2_createprimary -C o -G ecc256 -c p.ctx",
		"tpm2_import -C p.ctx -G hmac -i key -u k.pub -r k.priv",
		"tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx")
	for _, msg := range []string{"abc", long} {
		x.write("msg", msg)
		x.do("tpm2_hmac -c k.ctx -g sha256 -o out msg")
		m := hmac.New(sha256.New, []byte(x.read("key")))
		_, _ = m.Write([]byte(msg)) // never fails
		if x.read("out") != string(m.Sum(nil)) {
			t.Errorf("HMAC of %d octets is wrong", len(msg))
		}
	}
}

func TestToolsPCR(t *testing.T) {
	x := newTools(t)
	d := sum(crypto.SHA256, "event")
	x.do("tpm2_pcrextend 10:sha256=" + hex.EncodeToString([]byte(d)))
	x.do("tpm2_pcrread -o pcr sha256:10")
	if want := sum(crypto.SHA256, string(make([]byte, 32)), d); x.read("pcr") != want {
		t.Errorf("PCR 10 is %x", x.read("pcr"))
	}
	x.write("event", "event")
	x.has(x.do("tpm2_pcrevent 16 event"), "sha256: "+hex.EncodeToString([]byte(d)))
	x.do("tpm2_pcrread -o pcr sha1:16")
	if want := sum(crypto.SHA1, string(make([]byte, 20)), sum(crypto.SHA1, "event")); x.read("pcr") != want {
		t.Errorf("PCR 16 is %x", x.read("pcr"))
	}
	x.do("tpm2_pcrreset 16 23", "tpm2_pcrread -o pcr sha256:16")
	if x.read("pcr") != string(make([]byte, 32)) {
		t.Errorf("PCR 16 after the reset is %x", x.read("pcr"))
	}
	x.deny("0x907", "tpm2_pcrreset 4")
	x.do("tpm2_pcrallocate sha1:none+sha256:all+sha384:none+sha512:none")
	x.has(x.do("tpm2_pcrread"), "sha256:", "0 :")
}

func TestToolsHierarchies(t *testing.T) {
	x := newTools(t)
	x.do("tpm2_createprimary -C o -G ecc -c a.ctx", "tpm2_readpublic -c a.ctx -n a.name",
		"tpm2_createprimary -C o -G ecc -c b.ctx", "tpm2_readpublic -c b.ctx -n b.name")
	x.same("a.name", "b.name")
	x.do("tpm2_createprimary -C e -G ecc -c e1.ctx", "tpm2_readpublic -c e1.ctx -n e1.name", "tpm2_changeeps",
		"tpm2_createprimary -C e -G ecc -c e2.ctx", "tpm2_readpublic -c e2.ctx -n e2.name",
		"tpm2_createprimary -C p -G ecc -c p1.ctx", "tpm2_readpublic -c p1.ctx -n p1.name", "tpm2_changepps",
		"tpm2_createprimary -C p -G ecc -c p2.ctx", "tpm2_readpublic -c p2.ctx -n p2.name")
	if x.read("e1.name") == x.read("e2.name") || x.read("p1.name") == x.read("p2.name") {
		t.Error("a new seed gave the same key")
	}
	x.do("tpm2_changeauth -c o opw", "tpm2_createprimary -C o -P opw -G ecc -c c.ctx")
	x.deny("0x9A2", "tpm2_createprimary -C o -P wrong -G ecc -c c.ctx")
	x.do("tpm2_changeauth -c lockout lpw", "tpm2_clearcontrol -C l -P lpw s")
	x.deny("0x120", "tpm2_clear -c l lpw")
	x.do("tpm2_clearcontrol -C p c", "tpm2_clear -c l lpw",
		"tpm2_createprimary -C o -G ecc -c b.ctx", "tpm2_readpublic -c b.ctx -n b.name")
	if x.read("a.name") == x.read("b.name") {
		t.Error("clear left the storage seed as it was")
	}
	x.deny("0x1DF", "tpm2_readpublic -c a.ctx")
	x.do("tpm2_hierarchycontrol -C p shEnable clear")
	x.deny("0x185", "tpm2_createprimary -C o -G ecc -c c.ctx")
	x.do("tpm2_hierarchycontrol -C p shEnable set")
	x.write("policy", sum(crypto.SHA256, "policy"))
	x.do("tpm2_setprimarypolicy -C o -L policy -g sha256")
}

func TestToolsLockout(t *testing.T) {
	x := newTools(t)
	x.do("tpm2_dictionarylockout -s -n 2 -t 1000 -l 1000")
	x.do("tpm2_createprimary -C o -G ecc -p pw -c a.ctx -a restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth")
	create := "tpm2_create -C a.ctx -G ecc -u k.pub -r k.priv -P "
	x.deny("0x98E", create+"wrong")
	x.deny("0x98E", create+"wrong")
	x.deny("0x921", create+"pw")
	x.do("tpm2_dictionarylockout -c", create+"pw")
	x.has(x.do("tpm2_getcap properties-variable"), "TPM2_PT_MAX_AUTH_FAIL: 0x2", "TPM2_PT_LOCKOUT_INTERVAL: 0x3E8")
}

func TestToolsSigning(t *testing.T) {
	x := newTools(t)
	x.write("msg", "a message to sign")
	x.do("tpm2_createprimary -C o -c p.ctx")
	for _, c := range []struct{ key, scheme, hash, format, openssl string }{
		{"rsa2048", "rsassa", "sha256", "plain", "-sha256"},
		{"rsa2048", "rsapss", "sha384", "plain", "-sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-2"},
		{"ecc256", "ecdsa", "sha256", "plain", "-sha256"},
		{"ecc384", "ecdsa", "sha384", "plain", "-sha384"},
		{"ecc521", "ecdsa", "sha512", "plain", "-sha512"},
		{"ecc224", "ecdsa", "sha256", "plain", "-sha256"},
		{"ecc256", "ecschnorr", "sha256", "tss", ""},
	} {
		x.do("tpm2_create -C p.ctx -G "+c.key+" -u k.pub -r k.priv -p keypw -a sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth",
			"tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx",
			"tpm2_sign -c k.ctx -p keypw -g "+c.hash+" -s "+c.scheme+" -o tss.sig msg",
			"tpm2_verifysignature -c k.ctx -g "+c.hash+" -m msg -s tss.sig -t ticket",
			"tpm2_readpublic -c k.ctx -f pem -o k.pem")
		x.deny("0x98E", "tpm2_sign -c k.ctx -p wrong -g "+c.hash+" -s "+c.scheme+" -o no.sig msg")
		if c.openssl != "" {
			x.do("tpm2_sign -c k.ctx -p keypw -g "+c.hash+" -s "+c.scheme+" -f plain -o k.sig msg",
				"openssl dgst -verify k.pem -signature k.sig "+c.openssl+" msg",
				"tpm2_loadexternal -C n -G "+strings.TrimRight(c.key, "0123456789")+" -u k.pem -c ext.ctx",
				"tpm2_verifysignature -c ext.ctx -g "+c.hash+" -m msg -s tss.sig")
		}
		x.write("other", "another message")
		x.deny("0x2DB", "tpm2_verifysignature -c k.ctx -g "+c.hash+" -m other -s tss.sig")
		x.do("tpm2_dictionarylockout -c")
	}
	// A key from outside.
	x.do("openssl genrsa -out rsa.pem 2048", "tpm2_loadexternal -C n -G rsa -r rsa.pem -c rsa.ctx",
		"tpm2_sign -c rsa.ctx -g sha256 -s rsassa -f plain -o k.sig msg",
		"openssl dgst -sha256 -prverify rsa.pem -signature k.sig msg")
}

func TestToolsPrimaryKinds(t *testing.T) {
	x := newTools(t)
	for _, alg := range []string{"rsa2048", "rsa3072", "ecc224", "ecc256", "ecc384", "ecc521", "ecc256:aes256cfb"} {
		for _, h := range []string{"o", "e", "p", "n"} {
			if strings.HasPrefix(alg, "rsa") && h != "e" {
				continue // slow, and the hierarchy makes no difference
			}
			x.do("tpm2_createprimary -C "+h+" -G "+alg+" -g sha256 -c p.ctx -f pem -o p.pem",
				"openssl pkey -pubin -in p.pem -noout")
		}
	}
	x.do("tpm2_createprimary -C o -G ecc -c p.ctx --creation-data cd -d ch -t ct --outside-info 0102 -l sha256:0,7")
	if got := sum(crypto.SHA256, x.read("cd")[2:]); got != x.read("ch")[2:] {
		t.Errorf("creation hash %x, want %x", x.read("ch")[2:], got)
	}
	for _, alg := range []string{"aes128cfb", "aes256cfb", "keyedhash", "hmac", "ecc256", "rsa2048"} {
		args := "tpm2_create -C p.ctx -G " + alg + " -u k.pub -r k.priv"
		if alg == "keyedhash" {
			x.write("secret", "sealed")
			args = "tpm2_create -C p.ctx -i secret -u k.pub -r k.priv"
		}
		x.do(args, "tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx -n k.name", "tpm2_readpublic -c k.ctx -n k2.name")
		x.same("k.name", "k2.name")
	}
	x.do("tpm2_create -C p.ctx -G ecc -c child.ctx", "tpm2_readpublic -c child.ctx") // CreateLoaded
}

func TestToolsPersistent(t *testing.T) {
	x := newTools(t)
	x.do("tpm2_createprimary -C o -G ecc -c p.ctx", "tpm2_evictcontrol -C o -c p.ctx 0x81000005",
		"tpm2_readpublic -c 0x81000005 -n a.name", "tpm2_readpublic -c p.ctx -n b.name")
	x.same("a.name", "b.name")
	x.has(x.do("tpm2_getcap handles-persistent"), "0x81000005")
	x.deny("0x14C", "tpm2_evictcontrol -C o -c p.ctx 0x81000005")
	x.do("tpm2_create -C 0x81000005 -G ecc -u k.pub -r k.priv", "tpm2_load -C 0x81000005 -u k.pub -r k.priv -c k.ctx",
		"tpm2_changeauth -C 0x81000005 -c k.ctx -r new.priv newpw", "tpm2_load -C 0x81000005 -u k.pub -r new.priv -c k.ctx")
	x.write("msg", "m")
	x.do("tpm2_sign -c k.ctx -p newpw -g sha256 -o sig msg")
	x.deny("0x98E", "tpm2_sign -c k.ctx -g sha256 -o sig msg")
	x.do("tpm2_evictcontrol -C o -c 0x81000005")
	x.has(x.do("tpm2_getcap handles-persistent")+"none", "none")
	x.deny("0x18B", "tpm2_readpublic -c 0x81000005")
}

func TestToolsCiphers(t *testing.T) {
	x := newTools(t)
	x.write("msg", "0123456789abcdef0123456789abcdef")
	x.write("iv", "iviviviviviviviv")
	x.do("tpm2_createprimary -C o -c p.ctx")
	for _, mode := range []string{"cfb", "cbc", "ctr", "ofb", "ecb"} {
		x.do("tpm2_create -C p.ctx -G aes256"+mode+" -u k.pub -r k.priv", "tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx")
		iv := " -t iv"
		if mode == "ecb" {
			// The tool always sends an IV, which the specification wants empty here.
			x.deny("0x4D5", "tpm2_encryptdecrypt -c k.ctx -o enc msg")
			continue
		}
		x.do("tpm2_encryptdecrypt -c k.ctx"+iv+" -o enc msg", "tpm2_encryptdecrypt -d -c k.ctx"+iv+" -o dec enc")
		x.same("msg", "dec")
		if x.read("enc") == x.read("msg") {
			t.Error(mode, "did not encrypt")
		}
	}
	// A known key, against OpenSSL.
	x.write("key", "sixteen octets..")
	x.do("tpm2_import -C p.ctx -G aes -i key -u k.pub -r k.priv", "tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx",
		"tpm2_encryptdecrypt -c k.ctx -G cfb -t iv -o enc msg",
		"openssl enc -aes-128-cfb -K "+hex.EncodeToString([]byte(x.read("key")))+" -iv "+hex.EncodeToString([]byte(x.read("iv")))+" -in msg -out want")
	x.same("enc", "want")
	x.write("short", "a short secret")
	x.do("tpm2_create -C p.ctx -G rsa2048 -u r.pub -r r.priv -a decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth",
		"tpm2_load -C p.ctx -u r.pub -r r.priv -c r.ctx", "tpm2_readpublic -c r.ctx -f pem -o r.pem")
	for _, s := range []string{"rsaes", "oaep"} {
		x.do("tpm2_rsaencrypt -c r.ctx -s "+s+" -o enc short", "tpm2_rsadecrypt -c r.ctx -s "+s+" -o dec enc")
		x.same("short", "dec")
	}
	x.do("openssl pkeyutl -encrypt -pubin -inkey r.pem -in short -out enc", "tpm2_rsadecrypt -c r.ctx -s rsaes -o dec enc")
	x.same("short", "dec")
}

func TestToolsECDH(t *testing.T) {
	x := newTools(t)
	for _, curve := range []string{"ecc256", "ecc384", "ecc521"} {
		x.do("tpm2_createprimary -C o -G "+curve+" -c k.ctx -a decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth --format=pem -o k.pem",
			"tpm2_ecdhkeygen -c k.ctx -u point -o secret", "tpm2_ecdhzgen -c k.ctx -u point -o z")
		x.same("secret", "z")
	}
	x.has(x.do("tpm2_geteccparameters ecc256 -o parms"), "")
	x.do("tpm2_ecephemeral -u eph -t counter ecc256")
	x.do("tpm2_createprimary -C o -G ecc256:ecdaa -c daa.ctx -a sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth",
		"tpm2_commit -c daa.ctx -t counter --eccpoint-K K --eccpoint-L L -u E")
	x.do("tpm2_createprimary -C o -G ecc256:ecdh -c z.ctx -a decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth",
		"tpm2_ecephemeral -u q2 -t counter ecc256")
	x.do(fmt.Sprintf("tpm2_zgen2phase -c z.ctx --static-public q2 --ephemeral-public q2 -t %d --output-Z1 z1 --output-Z2 z2",
		binary.BigEndian.Uint16([]byte(x.read("counter")))))
	if x.read("z1") == x.read("z2") {
		t.Error("both secrets are the same")
	}
}
