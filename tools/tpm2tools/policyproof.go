package tpm2tools

// PolicyFamilies are families beyond [Families], too long for slow machines: each policy
// command in real sessions, with an operation that succeeds with it, and fails without it or with
// something else in its place.
func PolicyFamilies() []Family {
	return []Family{
		{"proofsimple", "policylocality, policycountertimer, policycommandcode, policypcr, policyrestart: shown, and refused", testSimpleProofs},
		{"proofsecret", "policysecret, policypassword, policyauthvalue: the right password, a wrong one, none", testSecretProofs},
		{"proofor", "policyor: each branch opens, a third does not", testOrProofs},
		{"proofsigned", "policysigned, policyauthorize, policyticket: forged signatures and tickets, policies nobody signed", testSignedProofs},
		{"proofnv", "policynv, policyauthorizenv, policynvwritten: contents that fit and that do not; an index written once", testNVProofs},
		{"proofexact", "policycphash, policynamehash, policytemplate, policyduplicationselect: this command and no other", testExactPolicies},
	}
}

const unseal = "tpm2_unseal -c s.ctx -p session:s.ses -o opened"

// shown runs steps in a policy session and then what they allow.
func (x *Run) shown(allowed string, steps ...string) {
	x.session("policy")
	x.do(steps...)
	x.do(allowed)
	x.endSession()
}

// notShown runs steps in a policy session and wants what they do not allow to be refused.
func (x *Run) notShown(rc, refused string, steps ...string) {
	x.session("policy")
	x.do(steps...)
	x.deny(rc, refused)
	x.endSession()
}

// trial computes a policy into a file.
func (x *Run) trial(file string, steps ...string) {
	x.session("trial")
	x.do(steps...)
	x.do("tpm2_getpolicydigest -S s.ses -o " + file)
	x.endSession()
}

// proves seals to a policy. Its steps open, no steps do not, nor do others, which end in a refusal of the
// operation.
func (x *Run) proves(steps []string, others ...string) {
	x.trial("policy", steps...)
	x.seal("policy")
	x.shown(unseal, steps...)
	x.same("secret", "opened")
	x.notShown("0x99D", unseal)
	for _, o := range others {
		x.notShown("0x99D", unseal, o)
	}
}

// forbids seals to a policy that can be shown and yet forbids to unseal here and now.
func (x *Run) forbids(rc string, steps ...string) {
	x.trial("policy", steps...)
	x.seal("policy")
	x.notShown(rc, unseal, steps...)
}

func testSimpleProofs(x *Run) {
	x.parent()
	const code, place = "tpm2_policycommandcode -S s.ses ", "tpm2_policylocality -S s.ses "
	x.proves([]string{code + "TPM2_CC_Unseal"})
	x.forbids("0x9A4", code+"TPM2_CC_Sign")
	x.proves([]string{place + "zero"}, place+"one")
	x.forbids("0x907", place+"three") // commands come at locality 0
	x.proves([]string{"tpm2_policypcr -S s.ses -l sha256:16"}, "tpm2_policypcr -S s.ses -l sha256:15")
	const clock = "tpm2_policycountertimer -S s.ses "
	x.proves([]string{clock + "--ult clock=1000000000000"}, clock+"--ult clock=1000000000001")
	x.notShown("0x126", clock+"--ugt clock=1000000000000")
	// Restart forgets what was shown, and the session goes on.
	x.trial("policy", code+"TPM2_CC_Unseal")
	x.seal("policy")
	x.notShown("0x99D", unseal, code+"TPM2_CC_Unseal", "tpm2_policyrestart -S s.ses")
	x.shown(unseal, code+"TPM2_CC_Sign", "tpm2_policyrestart -S s.ses", code+"TPM2_CC_Unseal")
}

func testSecretProofs(x *Run) {
	x.parent()
	const secret = "tpm2_policysecret -S s.ses -c 0x1500016 "
	x.do("tpm2_nvdefine 0x1500016 -C o -s 8 -p word -a authread|authwrite|no_da")
	x.proves([]string{secret + "word"}, "tpm2_policysecret -S s.ses -c o")
	x.notShown("0x9A2", secret+"other")
	x.session("policy") // a failed step shows nothing
	x.deny("0x9A2", secret+"other")
	x.deny("0x99D", unseal)
	x.endSession()
	x.do("tpm2_nvundefine 0x1500016 -C o")
	x.write("secret", "what is sealed")
	for _, step := range []string{"tpm2_policypassword -S s.ses", "tpm2_policyauthvalue -S s.ses"} {
		x.trial("policy", step)
		x.do("tpm2_create -C p.ctx -u s.pub -r s.priv -L policy -i secret -p pw -a fixedtpm|fixedparent|noda",
			"tpm2_load -C p.ctx -u s.pub -r s.priv -c s.ctx")
		const withPassword = "tpm2_unseal -c s.ctx -o opened -p session:s.ses+"
		x.shown(withPassword+"pw", step)
		x.same("secret", "opened")
		x.notShown("0x9A2", withPassword+"wrong", step)
		x.notShown("0x99D", withPassword+"pw")
		// The password alone: Part 3, 5.6 (other TPMs say 0x12F).
		x.deny("0x12F", "tpm2_unseal -c s.ctx -p pw -o no")
	}
}

func testOrProofs(x *Run) {
	x.parent()
	const or = "tpm2_policyor -S s.ses sha256:one,two"
	const one, two, three = "tpm2_policycommandcode -S s.ses TPM2_CC_Unseal", "tpm2_policylocality -S s.ses zero", "tpm2_policypcr -S s.ses -l sha256:16"
	x.trial("one", one)
	x.trial("two", two)
	x.trial("three", three)
	x.proves([]string{one, or}, one, two)
	x.shown(unseal, two, or)
	x.notShown("0x1C4", or, three)
	// Branches that the policy does not have.
	x.notShown("0x99D", unseal, three, "tpm2_policyor -S s.ses sha256:one,three")
}

func testSignedProofs(x *Run) {
	x.parent()
	x.do("openssl genrsa -out key.pem 2048", "openssl rsa -in key.pem -pubout -out pub.pem",
		"tpm2_loadexternal -C o -G rsa -u pub.pem -c key.ctx -n key.name",
		"openssl genrsa -out other.pem 2048", "openssl rsa -in other.pem -pubout -out otherpub.pem",
		"tpm2_loadexternal -C o -G rsa -u otherpub.pem -c other.ctx -n other.name")
	x.write("tosign", "\x00\x00\x00\x00") // expiration 0, without a nonce
	x.do("openssl dgst -sha256 -sign key.pem -out sig tosign", "openssl dgst -sha256 -sign other.pem -out other.sig tosign")
	const signed = "tpm2_policysigned -S s.ses -g sha256 -f rsassa "
	x.proves([]string{signed + "-s sig -c key.ctx"}, signed+"-s other.sig -c other.ctx")
	x.notShown("0x5DB", signed+"-s other.sig -c key.ctx")

	const pcr, auth = "tpm2_policypcr -S s.ses -l sha256:16", "tpm2_policyauthorize -S s.ses -n key.name "
	x.trial("approved", pcr)
	x.do("openssl dgst -sha256 -sign key.pem -out sig approved", "tpm2_verifysignature -c key.ctx -g sha256 -m approved -s sig -t ticket -f rsassa",
		"openssl dgst -sha256 -sign other.pem -out sig approved", "tpm2_verifysignature -c other.ctx -g sha256 -m approved -s sig -t other.ticket -f rsassa")
	ticket := []byte(x.read("ticket"))
	ticket[len(ticket)-1] ^= 1
	x.write("forged", string(ticket))
	x.trial("policy", "tpm2_policyauthorize -S s.ses -n key.name")
	x.seal("policy")
	x.shown(unseal, pcr, auth+"-i approved -t ticket")
	x.same("secret", "opened")
	x.notShown("0x99D", unseal, pcr)
	x.notShown("0x1C4", auth+"-i approved -t ticket", "tpm2_policypcr -S s.ses -l sha256:15")
	x.notShown("0x4C4", auth+"-i approved -t forged", pcr)
	x.notShown("0x4C4", auth+"-i approved -t other.ticket", pcr)
	x.notShown("0x99D", unseal, pcr, "tpm2_policyauthorize -S s.ses -n other.name -i approved -t other.ticket")
	x.ticketProofs()
}

// ticketProofs: a ticket stands for a password, for its time and its object only.
func (x *Run) ticketProofs() {
	x.write("o.name", "\x40\x00\x00\x01")
	x.write("e.name", "\x40\x00\x00\x0b")
	x.trial("policy", "tpm2_policysecret -S s.ses -c o")
	x.seal("policy")
	x.session("policy")
	x.do("tpm2_policysecret -S s.ses -c o -t -3600 -x --ticket ticket --timeout timeout")
	x.endSession()
	const use = "tpm2_policyticket -S s.ses --timeout timeout "
	x.shown(unseal, use+"-n o.name --ticket ticket")
	x.same("secret", "opened")
	ticket := []byte(x.read("ticket"))
	ticket[len(ticket)-1] ^= 1
	x.write("forged", string(ticket))
	x.notShown("0x5E0", use+"-n o.name --ticket forged")
	x.notShown("0x5E0", use+"-n e.name --ticket ticket")
}

func testNVProofs(x *Run) {
	x.parent()
	x.write("value", "12345678")
	x.write("small", "00000000")
	const compare = "tpm2_policynv -S s.ses -C o 0x1500011 "
	x.do("tpm2_nvdefine 0x1500011 -C o -s 8 -a ownerread|ownerwrite", "tpm2_nvwrite 0x1500011 -C o -i value")
	x.proves([]string{compare + "-i value eq"}, compare+"-i small ugt")
	x.notShown("0x126", compare+"-i small ult")
	x.notShown("0x126", compare+"-i small eq")
	// The contents change, and with them what can be shown.
	x.trial("policy", compare+"-i value eq")
	x.seal("policy")
	x.do("tpm2_nvwrite 0x1500011 -C o -i small")
	x.notShown("0x126", compare+"-i value eq")
	x.do("tpm2_nvwrite 0x1500011 -C o -i value")
	x.shown(unseal, compare+"-i value eq")

	// PolicyAuthorizeNV: the policy is what the index holds.
	const pcr, auth = "tpm2_policypcr -S s.ses -l sha256:16", "tpm2_policyauthorizenv -S s.ses -C o 0x1500012"
	x.do("tpm2_nvdefine 0x1500012 -C o -s 34 -a ownerread|ownerwrite|authread")
	x.trial("held", pcr)
	x.write("held", "\x00\x0b"+x.read("held"))
	x.do("tpm2_nvwrite 0x1500012 -C o -i held")
	x.trial("policy", auth)
	x.seal("policy")
	x.shown(unseal, pcr, auth)
	x.same("secret", "opened")
	x.notShown("0x99D", unseal, pcr)
	x.notShown("0x84", auth, "tpm2_policypcr -S s.ses -l sha256:15")
	x.do("tpm2_nvundefine 0x1500011 -C o", "tpm2_nvundefine 0x1500012 -C o")
	x.nvWrittenProofs()
}

// nvWrittenProofs: an index that is read only when it was written, and one that is written only once.
func (x *Run) nvWrittenProofs() {
	const written, unwritten = "tpm2_policynvwritten -S s.ses s", "tpm2_policynvwritten -S s.ses c"
	const read = "tpm2_nvread 0x1500013 -C 0x1500013 -P session:s.ses -s 8 -o read"
	const write = "tpm2_nvwrite 0x1500013 -C 0x1500013 -P session:s.ses -i "
	x.trial("policy", written)
	x.do("tpm2_nvdefine 0x1500013 -C o -s 8 -a ownerwrite|policyread -L policy", "tpm2_nvwrite 0x1500013 -C o -i value")
	x.shown(read, written)
	x.same("read", "value")
	x.notShown("0x99D", read)
	x.notShown("0x99D", read, unwritten)
	x.do("tpm2_nvundefine 0x1500013 -C o")

	x.trial("policy", unwritten)
	x.do("tpm2_nvdefine 0x1500013 -C o -s 8 -a ownerread|policywrite -L policy")
	x.notShown("0x99D", write+"value")
	x.notShown("0x99D", write+"value", written)
	x.shown(write+"value", unwritten)
	x.notShown("0x99D", write+"small", unwritten)
	x.do("tpm2_nvread 0x1500013 -C o -s 8 -o read")
	x.same("read", "value")
	x.do("tpm2_nvundefine 0x1500013 -C o")
}
