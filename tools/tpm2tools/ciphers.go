package tpm2tools

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

func testCiphers(x *Run) {
	x.write("msg", "0123456789abcdef0123456789abcdef")
	x.write("iv", "iviviviviviviviv")
	x.do("tpm2_createprimary -C o -c p.ctx")
	for _, mode := range few(x, 1, "cbc", "cfb", "ctr", "ofb", "ecb") {
		x.do("tpm2_create -C p.ctx -G aes256"+mode+" -u k.pub -r k.priv", "tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx")
		iv := " -t iv"
		if mode == "ecb" {
			iv = "" // the tool sends one all the same
		}
		x.do("tpm2_encryptdecrypt -c k.ctx"+iv+" -o enc msg", "tpm2_encryptdecrypt -d -c k.ctx"+iv+" -o dec enc")
		x.same("msg", "dec")
		if x.read("enc") == x.read("msg") {
			x.fatal(mode, "did not encrypt")
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
	for _, s := range few(x, 1, "oaep", "rsaes") {
		x.do("tpm2_rsaencrypt -c r.ctx -s "+s+" -o enc short", "tpm2_rsadecrypt -c r.ctx -s "+s+" -o dec enc")
		x.same("short", "dec")
	}
	x.do("openssl pkeyutl -encrypt -pubin -inkey r.pem -in short -out enc", "tpm2_rsadecrypt -c r.ctx -s rsaes -o dec enc")
	x.same("short", "dec")
}

func testECDH(x *Run) {
	for _, curve := range few(x, 1, "ecc256", "ecc384", "ecc521") {
		x.do("tpm2_createprimary -C o -G "+curve+" -c k.ctx -a decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth --format=pem -o k.pem",
			"tpm2_ecdhkeygen -c k.ctx -u point -o secret", "tpm2_ecdhzgen -c k.ctx -u point -o z")
		x.same("secret", "z")
	}
	x.do("tpm2_geteccparameters ecc256 -o parms")
	x.has(x.read("parms"), "\xff\xff\xff\xff\x00\x00\x00\x01"+strings.Repeat("\x00", 12)+strings.Repeat("\xff", 12)) // the prime of P-256
	x.do("tpm2_ecephemeral -u eph -t counter ecc256")
	x.do("tpm2_createprimary -C o -G ecc256:ecdaa -c daa.ctx -a sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth",
		"tpm2_commit -c daa.ctx -t counter --eccpoint-K K --eccpoint-L L -u E")
	x.do("tpm2_createprimary -C o -G ecc256:ecdh -c z.ctx -a decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth",
		"tpm2_ecephemeral -u q2 -t counter ecc256")
	x.do(fmt.Sprintf("tpm2_zgen2phase -c z.ctx --static-public q2 --ephemeral-public q2 -t %d --output-Z1 z1 --output-Z2 z2",
		binary.BigEndian.Uint16([]byte(x.read("counter")))))
	if x.read("z1") == x.read("z2") {
		x.fatal("both secrets are the same")
	}
}
