package tpm2tools

import (
	"encoding/hex"
)

func hexOf(s string) string { return hex.EncodeToString([]byte(s)) }

// A key goes from one parent to another, with and without inner wrapping.
func testDuplicate(x *Run) {
	for _, wrap := range few(x, 1, "aes", "null") {
		x.parent()
		x.session("trial")
		x.do("tpm2_policycommandcode -S s.ses -L policy TPM2_CC_Duplicate")
		x.endSession()
		x.do("tpm2_createprimary -C o -G rsa -c new.ctx", "tpm2_create -C p.ctx -G ecc -u k.pub -r k.priv -L policy -a sensitivedataorigin|userwithauth|sign",
			"tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx")
		x.session("policy")
		x.do("tpm2_policycommandcode -S s.ses TPM2_CC_Duplicate")
		if wrap == "aes" {
			x.write("inner", "sixteen octets!!")
			x.do("tpm2_duplicate -C new.ctx -c k.ctx -G aes -i inner -p session:s.ses -r dup -s seed",
				"tpm2_import -C new.ctx -k inner -u k.pub -r new.priv -i dup -s seed")
		} else {
			x.do("tpm2_duplicate -C new.ctx -c k.ctx -G null -p session:s.ses -r dup -s seed",
				"tpm2_import -C new.ctx -u k.pub -r new.priv -i dup -s seed")
		}
		x.endSession()
		x.write("msg", "m")
		x.do("tpm2_load -C new.ctx -u k.pub -r new.priv -c n.ctx", "tpm2_sign -c n.ctx -g sha256 -o sig msg",
			"tpm2_verifysignature -c k.ctx -g sha256 -m msg -s sig")
		x.deny("0x1DF", "tpm2_load -C p.ctx -u k.pub -r new.priv -c no.ctx")
	}
}

// Keys that OpenSSL made are brought in.
func testImport(x *Run) {
	x.parent()
	x.write("msg", "m")
	x.do("openssl ecparam -name prime256v1 -genkey -noout -out ec.pem", "openssl ec -in ec.pem -pubout -out ec.pub",
		"tpm2_import -C p.ctx -G ecc -i ec.pem -u k.pub -r k.priv", "tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx",
		"tpm2_sign -c k.ctx -g sha256 -f plain -o sig msg", "openssl dgst -sha256 -verify ec.pub -signature sig msg")
	x.do("openssl genrsa -out rsa.pem 2048", "openssl rsa -in rsa.pem -pubout -out rsa.pub",
		"tpm2_import -C p.ctx -G rsa -i rsa.pem -u k.pub -r k.priv", "tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx",
		"tpm2_sign -c k.ctx -g sha256 -f plain -o sig msg", "openssl dgst -sha256 -verify rsa.pub -signature sig msg")
}

// Context files outlive other contexts and orderly use, and are refused when damaged.
func testContexts(x *Run) {
	x.parent()
	x.do("tpm2_create -C p.ctx -G ecc -u k.pub -r k.priv")
	for range few(x, 2, make([]int, 20)...) {
		x.do("tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx", "tpm2_readpublic -c p.ctx -n p.name")
	}
	b := []byte(x.read("k.ctx"))
	b[len(b)/2] ^= 1
	x.write("bad.ctx", string(b))
	x.deny("0x1DF", "tpm2_readpublic -c bad.ctx")
	x.do("tpm2_startauthsession --hmac-session -S a.ses", "tpm2_startauthsession --hmac-session -S b.ses",
		"tpm2_flushcontext a.ses", "tpm2_flushcontext b.ses", "tpm2_flushcontext -t", "tpm2_flushcontext -l", "tpm2_flushcontext -s")
}
