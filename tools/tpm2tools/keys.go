package tpm2tools

import (
	"crypto"
	"strings"
)

func testPrimaryKinds(x *Run) {
	for _, alg := range few(x, 2, "rsa2048", "ecc256", "rsa3072", "ecc224", "ecc384", "ecc521", "ecc256:aes256cfb") {
		for _, h := range few(x, 3, "e", "p", "n", "o") {
			if strings.HasPrefix(alg, "rsa") && h != "e" {
				continue // slow, and the hierarchy makes no difference
			}
			x.do("tpm2_createprimary -C "+h+" -G "+alg+" -g sha256 -c p.ctx -f pem -o p.pem",
				"openssl pkey -pubin -in p.pem -noout")
		}
	}
	x.do("tpm2_createprimary -C o -G ecc -c p.ctx --creation-data cd -d ch -t ct --outside-info 0102 -l sha256:0,7")
	if got := sum(crypto.SHA256, x.read("cd")[2:]); got != x.read("ch")[2:] {
		x.fatalf("creation hash %x, want %x", x.read("ch")[2:], got)
	}
	for _, alg := range few(x, 2, "keyedhash", "hmac", "aes128cfb", "aes256cfb", "ecc256", "rsa2048") {
		args := "tpm2_create -C p.ctx -G " + alg + " -u k.pub -r k.priv"
		if alg == "keyedhash" {
			x.write("secret", "sealed")
			args = "tpm2_create -C p.ctx -i secret -u k.pub -r k.priv"
		}
		x.do(args, "tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx -n k.name", "tpm2_readpublic -c k.ctx -n k2.name")
		x.same("k.name", "k2.name")
	}
	x.do("tpm2_create -C p.ctx -G ecc -c child.ctx", "tpm2_readpublic -c child.ctx") // CreateLoaded
	x.do("tpm2_create -C p.ctx -G ecc256 -u k.pub -r k.priv", "tpm2_encodeobject -C p.ctx -u k.pub -r k.priv -o k.pem")
	x.has(x.read("k.pem"), "BEGIN TSS2 PRIVATE KEY")
}

func testPersistent(x *Run) {
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
	x.do("tpm2_dictionarylockout -c")
	x.do("tpm2_evictcontrol -C o -c 0x81000005")
	x.has(x.do("tpm2_getcap handles-persistent")+"none", "none")
	x.deny("0x18B", "tpm2_readpublic -c 0x81000005")
}

func testSigning(x *Run) {
	x.write("msg", "a message to sign")
	x.do("tpm2_createprimary -C o -c p.ctx")
	type kind struct{ key, scheme, hash, openssl string }
	for _, c := range few(x, 2,
		kind{"rsa2048", "rsapss", "sha384", "-sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-2"},
		kind{"ecc256", "ecdsa", "sha256", "-sha256"},
		kind{"rsa2048", "rsassa", "sha256", "-sha256"},
		kind{"ecc384", "ecdsa", "sha384", "-sha384"},
		kind{"ecc521", "ecdsa", "sha512", "-sha512"},
		kind{"ecc224", "ecdsa", "sha256", "-sha256"},
		kind{"ecc256", "ecschnorr", "sha256", ""},
	) {
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
