package tpm2tools

import (
	"crypto"
)

func testHierarchies(x *Run) {
	x.do("tpm2_createprimary -C o -G ecc -c a.ctx", "tpm2_readpublic -c a.ctx -n a.name",
		"tpm2_createprimary -C o -G ecc -c b.ctx", "tpm2_readpublic -c b.ctx -n b.name")
	x.same("a.name", "b.name")
	x.do("tpm2_createprimary -C e -G ecc -c e1.ctx", "tpm2_readpublic -c e1.ctx -n e1.name", "tpm2_changeeps",
		"tpm2_createprimary -C e -G ecc -c e2.ctx", "tpm2_readpublic -c e2.ctx -n e2.name",
		"tpm2_createprimary -C p -G ecc -c p1.ctx", "tpm2_readpublic -c p1.ctx -n p1.name", "tpm2_changepps",
		"tpm2_createprimary -C p -G ecc -c p2.ctx", "tpm2_readpublic -c p2.ctx -n p2.name")
	if x.read("e1.name") == x.read("e2.name") || x.read("p1.name") == x.read("p2.name") {
		x.fatal("a new seed gave the same key")
	}
	x.do("tpm2_changeauth -c o opw", "tpm2_createprimary -C o -P opw -G ecc -c c.ctx")
	x.deny("0x9A2", "tpm2_createprimary -C o -P wrong -G ecc -c c.ctx")
	x.do("tpm2_changeauth -c lockout lpw", "tpm2_clearcontrol -C l -P lpw s")
	x.deny("0x120", "tpm2_clear -c l lpw")
	x.do("tpm2_clearcontrol -C p c", "tpm2_clear -c l lpw",
		"tpm2_createprimary -C o -G ecc -c b.ctx", "tpm2_readpublic -c b.ctx -n b.name")
	if x.read("a.name") == x.read("b.name") {
		x.fatal("clear left the storage seed as it was")
	}
	x.deny("0x1DF", "tpm2_readpublic -c a.ctx")
	x.do("tpm2_hierarchycontrol -C p shEnable clear")
	x.deny("0x185", "tpm2_createprimary -C o -G ecc -c c.ctx")
	x.do("tpm2_hierarchycontrol -C p shEnable set")
	x.write("policy", sum(crypto.SHA256, "policy"))
	x.do("tpm2_setprimarypolicy -C o -L policy -g sha256")
}

func testLockout(x *Run) {
	x.do("tpm2_dictionarylockout -s -n 2 -t 1000 -l 1000")
	x.do("tpm2_createprimary -C o -G ecc -p pw -c a.ctx -a restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth")
	create := "tpm2_create -C a.ctx -G ecc -u k.pub -r k.priv -P "
	x.deny("0x98E", create+"wrong")
	x.deny("0x98E", create+"wrong")
	x.deny("0x921", create+"pw")
	x.do("tpm2_dictionarylockout -c", create+"pw")
	x.has(x.do("tpm2_getcap properties-variable"), "TPM2_PT_MAX_AUTH_FAIL: 0x2", "TPM2_PT_LOCKOUT_INTERVAL: 0x3E8")
	x.do("tpm2_dictionarylockout -s -n 32 -t 7200 -l 86400")
}
