package tpm2tools

import (
	"crypto"
	"crypto/hmac"
	_ "crypto/sha1"
	"crypto/sha256"
	_ "crypto/sha512"
	"encoding/hex"
	"strings"
)

func sum(h crypto.Hash, parts ...string) string {
	w := h.New()
	for _, p := range parts {
		_, _ = w.Write([]byte(p)) // never fails
	}
	return string(w.Sum(nil))
}

func testCapabilities(x *Run) {
	caps := make(map[string]string)
	for kind := range strings.FieldsSeq(x.do("tpm2_getcap -l")) {
		if kind != "-" {
			caps[kind] = x.do("tpm2_getcap " + kind)
		}
	}
	x.has(caps["properties-fixed"], "TPM2_PT_FAMILY_INDICATOR", `value: "2.0"`, "TPM2_PT_REVISION")
	x.has(caps["algorithms"], "rsa:", "sha256:", "ecdaa:", "cfb:", "keyedhash:", "kdf1_sp800_108:")
	x.has(caps["commands"], "TPM2_CC_NV_UndefineSpaceSpecial", "TPM2_CC_PolicyAuthorizeNV", "TPM2_CC_CreateLoaded")
	x.has(caps["ecc-curves"], "TPM2_ECC_NIST_P256", "TPM2_ECC_NIST_P521")
	x.has(caps["pcrs"], "sha256", "sha384")
	x.do("tpm2_testparms rsa2048", "tpm2_testparms ecc256", "tpm2_testparms aes128cfb")
	if x.RSA1024 {
		x.do("tpm2_testparms rsa1024")
	} else {
		x.fails("Unsupported algorithm", "tpm2_testparms rsa1024")
	}
	// TPM2_GetTestResult without a tool that knows it.
	x.write("command", "\x80\x01\x00\x00\x00\x0a\x00\x00\x01\x7c")
	x.do("tpm2_send -o response command")
	if !strings.HasPrefix(x.read("response"), "\x80\x01\x00\x00\x00\x10\x00\x00\x00\x00") {
		x.fatalf("GetTestResult: %x", x.read("response"))
	}
	x.has(x.do("tpm2_rc_decode 0x98e"), "authorization HMAC check failed")
}

func testBasics(x *Run) {
	x.do("tpm2_selftest", "tpm2_selftest -f", "tpm2_incrementalselftest sha256 rsa aes", "tpm2_gettestresult")
	if a, b := x.do("tpm2_getrandom --hex 32"), x.do("tpm2_getrandom --hex 32"); len(a) != 64 || a == b {
		x.fatalf("random: %q, %q", a, b)
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

func testHash(x *Run) {
	long := strings.Repeat("a long message ", 500) // needs a sequence
	for _, h := range few(x, 1, crypto.SHA256, crypto.SHA1, crypto.SHA384, crypto.SHA512) {
		name := strings.ToLower(strings.ReplaceAll(h.String(), "-", ""))
		for _, msg := range []string{"abc", long} {
			x.write("msg", msg)
			x.do("tpm2_hash -C o -g " + name + " -o out -t ticket msg")
			if x.read("out") != sum(h, msg) {
				x.fatalf("%s of %d octets is wrong", name, len(msg))
			}
		}
	}
	x.write("key", "0123456789abcdef0123456789abcdef")
	x.do("tpm2_createprimary -C o -G ecc256 -c p.ctx",
		"tpm2_import -C p.ctx -G hmac -i key -u k.pub -r k.priv",
		"tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx")
	for _, msg := range few(x, 1, long, "abc") {
		x.write("msg", msg)
		x.do("tpm2_hmac -c k.ctx -g sha256 -o out msg")
		m := hmac.New(sha256.New, []byte(x.read("key")))
		_, _ = m.Write([]byte(msg)) // never fails
		if x.read("out") != string(m.Sum(nil)) {
			x.fatalf("HMAC of %d octets is wrong", len(msg))
		}
	}
}

func testPCR(x *Run) {
	d := sum(crypto.SHA256, "event")
	x.do("tpm2_pcrextend 10:sha256=" + hex.EncodeToString([]byte(d)))
	x.do("tpm2_pcrread -o pcr sha256:10")
	if want := sum(crypto.SHA256, string(make([]byte, 32)), d); x.read("pcr") != want {
		x.fatalf("PCR 10 is %x", x.read("pcr"))
	}
	x.write("event", "event")
	x.has(x.do("tpm2_pcrevent 16 event"), "sha256: "+hex.EncodeToString([]byte(d)))
	x.do("tpm2_pcrread -o pcr sha1:16")
	if want := sum(crypto.SHA1, string(make([]byte, 20)), sum(crypto.SHA1, "event")); x.read("pcr") != want {
		x.fatalf("PCR 16 is %x", x.read("pcr"))
	}
	x.do("tpm2_pcrreset 16 23", "tpm2_pcrread -o pcr sha256:16")
	if x.read("pcr") != string(make([]byte, 32)) {
		x.fatalf("PCR 16 after the reset is %x", x.read("pcr"))
	}
	x.deny("0x907", "tpm2_pcrreset 4")
	x.do("tpm2_pcrallocate sha1:none+sha256:all+sha384:none+sha512:none")
	x.has(x.do("tpm2_pcrread"), "sha256:", "0 :")
}
