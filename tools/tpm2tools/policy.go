package tpm2tools

import (
	"crypto"
	"encoding/hex"
	"strings"
)

// seal makes a sealed object under p.ctx that only a policy file opens.
func (x *Run) seal(policy string) {
	x.write("secret", "what is sealed")
	x.do("tpm2_create -C p.ctx -u s.pub -r s.priv -L "+policy+" -i secret -a fixedtpm|fixedparent",
		"tpm2_load -C p.ctx -u s.pub -r s.priv -c s.ctx")
}

// session starts a trial or policy session in s.ses.
func (x *Run) session(kind string) {
	if kind == "trial" {
		x.do("tpm2_startauthsession -S s.ses")
		return
	}
	x.do("tpm2_startauthsession --policy-session -S s.ses")
}

// endSession ends the session in s.ses, on slow machines without the program for it.
func (x *Run) endSession() {
	if !x.Brief {
		x.do("tpm2_flushcontext s.ses")
		return
	}
	x.flush(0x02000000, 0x03000000)
}

// policyOpens seals to a policy, then opens with the same steps in a real session, and fails to in a session
// without them.
func (x *Run) policyOpens(steps ...string) {
	x.session("trial")
	x.do(steps...)
	x.endSession()
	x.write("sealed.policy", x.read("policy"))
	x.seal("sealed.policy")
	x.session("policy")
	x.do(steps...)
	x.do("tpm2_unseal -c s.ctx -p session:s.ses -o opened")
	x.same("secret", "opened")
	x.endSession()
	if x.Brief && !strings.Contains(steps[0], "policycommandcode") {
		return
	}
	// A session in which nothing was shown.
	x.session("policy")
	x.deny("0x99D", "tpm2_unseal -c s.ctx -p session:s.ses -o no")
	x.endSession()
}

func testPolicyPCR(x *Run) {
	x.parent()
	x.policyOpens("tpm2_policypcr -S s.ses -l sha256:0,1,16 -L policy")
	x.do("tpm2_unseal -c s.ctx -p pcr:sha256:0,1,16 -o opened", "tpm2_createpolicy --policy-pcr -l sha256:0,1,16 -L policy2")
	x.same("secret", "opened")
	x.same("policy", "policy2")
	x.session("policy")
	x.do("tpm2_policypcr -S s.ses -l sha256:0,1,16", "tpm2_pcrextend 1:sha256="+hex.EncodeToString([]byte(sum(crypto.SHA256, "x"))))
	x.deny("0x128", "tpm2_unseal -c s.ctx -p session:s.ses -o no")
	x.endSession()
	x.deny("0x99D", "tpm2_unseal -c s.ctx -p pcr:sha256:0,1,16 -o no")
}

func testPolicyCommandsAndTexts(x *Run) {
	x.parent()
	steps := []string{"tpm2_policycommandcode -S s.ses TPM2_CC_Unseal -L policy", "tpm2_policylocality -S s.ses zero -L policy",
		"tpm2_policycountertimer -S s.ses -L policy --ult clock=100000000", "tpm2_policysecret -S s.ses -c o -L policy"}
	x.policyOpens(steps...)
	if !x.Brief {
		for _, s := range steps {
			x.policyOpens(s)
		}
	}
	x.policyOpens("tpm2_policycommandcode -S s.ses TPM2_CC_Unseal -L one", "tpm2_policyor -S s.ses -L policy sha256:one,one")
	x.session("trial")
	x.do("tpm2_policycommandcode -S s.ses TPM2_CC_Sign -L policy")
	x.endSession()
	x.seal("policy")
	x.session("policy")
	x.do("tpm2_policycommandcode -S s.ses TPM2_CC_Sign")
	x.deny("0x9A4", "tpm2_unseal -c s.ctx -p session:s.ses -o no")
	x.do("tpm2_policyrestart -S s.ses", "tpm2_getpolicydigest -S s.ses -o digest")
	if x.read("digest") != string(make([]byte, 32)) {
		x.fatalf("restarted policy is %x", x.read("digest"))
	}
	x.endSession()
}

func testPolicyAuth(x *Run) {
	x.parent()
	x.write("secret", "what is sealed")
	for _, p := range []string{"tpm2_policypassword", "tpm2_policyauthvalue"} {
		x.session("trial")
		x.do(p + " -S s.ses -L policy")
		x.endSession()
		x.do("tpm2_create -C p.ctx -u s.pub -r s.priv -L policy -i secret -p pw -a fixedtpm|fixedparent",
			"tpm2_load -C p.ctx -u s.pub -r s.priv -c s.ctx")
		x.session("policy")
		x.do(p+" -S s.ses", "tpm2_unseal -c s.ctx -p session:s.ses+pw -o opened")
		x.same("secret", "opened")
		x.endSession()
		x.session("policy")
		x.do(p + " -S s.ses")
		x.deny("0x98E", "tpm2_unseal -c s.ctx -p session:s.ses+wrong -o no")
		x.endSession()
		x.do("tpm2_dictionarylockout -c")
	}
}

func testPolicySignedAndAuthorize(x *Run) {
	x.parent()
	x.do("openssl genrsa -out key.pem 2048", "openssl rsa -in key.pem -pubout -out pub.pem",
		"tpm2_loadexternal -C o -G rsa -u pub.pem -c key.ctx -n key.name")
	// PolicySigned without nonce: the signature is over expiration 0 alone.
	x.write("tosign", "\x00\x00\x00\x00")
	x.do("openssl dgst -sha256 -sign key.pem -out sig tosign")
	x.policyOpens("tpm2_policysigned -S s.ses -g sha256 -s sig -f rsassa -c key.ctx -L policy")
	x.write("other", "\x00\x00\x00\x01")
	x.do("openssl dgst -sha256 -sign key.pem -out bad other")
	x.session("policy")
	x.deny("0x5DB", "tpm2_policysigned -S s.ses -g sha256 -s bad -f rsassa -c key.ctx -L policy")
	x.endSession()
	// PolicyAuthorize: the key signs a policy of PCR 16.
	x.session("trial")
	x.do("tpm2_policyauthorize -S s.ses -L policy -n key.name")
	x.endSession()
	x.seal("policy")
	x.session("trial")
	x.do("tpm2_policypcr -S s.ses -l sha256:16 -L pcr.policy")
	x.endSession()
	x.do("openssl dgst -sha256 -sign key.pem -out pcr.sig pcr.policy",
		"tpm2_verifysignature -c key.ctx -g sha256 -m pcr.policy -s pcr.sig -t ticket -f rsassa")
	x.session("policy")
	x.do("tpm2_policypcr -S s.ses -l sha256:16", "tpm2_policyauthorize -S s.ses -i pcr.policy -n key.name -t ticket",
		"tpm2_unseal -c s.ctx -p session:s.ses -o opened")
	x.same("secret", "opened")
	x.endSession()
}

func testPolicyTicket(x *Run) {
	x.parent()
	x.session("trial")
	x.do("tpm2_policysecret -S s.ses -c o -L policy")
	x.endSession()
	x.seal("policy")
	x.session("policy")
	x.do("tpm2_policysecret -S s.ses -c o -t -3600 -x --ticket ticket --timeout timeout")
	x.endSession()
	x.do("tpm2_readpublic -c p.ctx -n p.name")
	x.write("o.name", "\x40\x00\x00\x01")
	x.session("policy")
	x.do("tpm2_policyticket -S s.ses -n o.name --ticket ticket --timeout timeout",
		"tpm2_unseal -c s.ctx -p session:s.ses -o opened")
	x.same("secret", "opened")
	x.endSession()
}

func testPolicyNV(x *Run) {
	x.parent()
	x.write("value", "12345678")
	x.do("tpm2_nvdefine 0x1500001 -C o -s 8 -a ownerread|ownerwrite|policywrite")
	x.deny("0x14A", "tpm2_nvread 0x1500001 -C o -s 8")
	x.do("tpm2_nvwrite 0x1500001 -C o -i value")
	x.policyOpens("tpm2_policynv -S s.ses -C o -i value -L policy 0x1500001 eq")
	x.write("small", "00000000")
	x.session("policy")
	x.deny("0x126", "tpm2_policynv -S s.ses -C o -i small -L policy 0x1500001 ult")
	x.do("tpm2_policynv -S s.ses -C o -i small -L policy 0x1500001 ugt")
	x.endSession()
	// PolicyAuthorizeNV: the policy is what the index holds.
	x.do("tpm2_nvdefine 0x1500002 -C o -s 34 -a ownerread|ownerwrite|authread")
	x.session("trial")
	x.do("tpm2_policypcr -S s.ses -l sha256:16 -L pcr.policy")
	x.endSession()
	x.write("nvpolicy", "\x00\x0b"+x.read("pcr.policy"))
	x.do("tpm2_nvwrite 0x1500002 -C o -i nvpolicy")
	x.session("trial")
	x.do("tpm2_policyauthorizenv -S s.ses -C o -L policy 0x1500002")
	x.endSession()
	x.seal("policy")
	x.session("policy")
	x.do("tpm2_policypcr -S s.ses -l sha256:16", "tpm2_policyauthorizenv -S s.ses -C o 0x1500002",
		"tpm2_unseal -c s.ctx -p session:s.ses -o opened")
	x.same("secret", "opened")
	x.endSession()
	// PolicyNvWritten.
	x.session("trial")
	x.do("tpm2_policynvwritten -S s.ses -L written s")
	x.endSession()
	x.do("tpm2_nvdefine 0x1500003 -C o -s 8 -a ownerwrite|policyread|authwrite -L written", "tpm2_nvwrite 0x1500003 -C o -i value")
	x.session("policy")
	x.do("tpm2_policynvwritten -S s.ses s", "tpm2_nvread 0x1500003 -C 0x1500003 -P session:s.ses -s 8 -o read")
	x.same("read", "value")
	x.endSession()
}

func testPolicyHashes(x *Run) {
	x.parent()
	// cpHash: a policy that allows exactly one command.
	x.write("secret", "s")
	x.do("tpm2_create -C p.ctx -u s.pub -r s.priv -i secret -p pw", "tpm2_load -C p.ctx -u s.pub -r s.priv -c s.ctx -n s.name",
		"tpm2_unseal -c s.ctx --cphash cp.hash")
	x.session("trial")
	x.do("tpm2_policycphash -S s.ses -L policy --cphash cp.hash")
	x.endSession()
	x.write("names", sum(crypto.SHA256, x.read("s.name")))
	x.session("trial")
	x.do("tpm2_policynamehash -S s.ses -L policy -n names")
	x.endSession()
	x.do("tpm2_readpublic -c p.ctx -n p.name")
	x.session("trial")
	x.do("tpm2_policyduplicationselect -S s.ses -n s.name -N p.name -L policy")
	x.endSession()
	x.write("template", sum(crypto.SHA256, "t"))
	x.session("trial")
	x.do("tpm2_policytemplate -S s.ses -L policy --template-hash template")
	x.endSession()
}

func testSessions(x *Run) {
	x.parent()
	x.write("secret", "what is sealed")
	x.do("tpm2_createprimary -C e -c ek.ctx") // a key for the salt
	for _, how := range few(x, 1, "--hmac-session --tpmkey-context ek.ctx --bind-context p.ctx", "--hmac-session", "--hmac-session -c ek.ctx",
		"--hmac-session --bind-context p.ctx", "--hmac-session -g sha384") {
		x.do("tpm2_startauthsession "+how+" -S s.ses", "tpm2_sessionconfig --enable-encrypt --enable-decrypt s.ses",
			"tpm2_create -C p.ctx -P session:s.ses -u s.pub -r s.priv -i secret -p pw", "tpm2_load -C p.ctx -u s.pub -r s.priv -c s.ctx",
			"tpm2_sessionconfig s.ses", "tpm2_unseal -c s.ctx -p session:s.ses+pw -o opened")
		x.same("secret", "opened")
		x.deny("0x98E", "tpm2_unseal -c s.ctx -p session:s.ses+wrong -o no")
		x.endSession()
		x.do("tpm2_dictionarylockout -c")
	}
	x.do("tpm2_startauthsession --audit-session -S s.ses", "tpm2_getrandom -S s.ses 8 -o r --rphash rp.hash")
	x.do("tpm2_createprimary -C e -G ecc256:ecdsa-sha256:null -c ak.ctx -a sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted",
		"tpm2_getsessionauditdigest -c ak.ctx -g sha256 -m audit.msg -s audit.sig -S s.ses")
	x.endSession()
}
