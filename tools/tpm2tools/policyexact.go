package tpm2tools

import (
	"crypto"
	"encoding/hex"
	"strings"
)

// ownerAllows gives the owner hierarchy a policy of one step, runs a command line that the
// policy allows, and wants those that it does not to be refused: also the first one in a session
// where the step was left out. The hierarchy has no policy afterwards.
func (x *Run) ownerAllows(step, allowed string, others ...string) {
	x.session("trial")
	x.do(step + " -L policy")
	x.endSession()
	x.do("tpm2_setprimarypolicy -C o -L policy -g sha256")
	x.session("policy")
	x.deny("0x99D", allowed+" -P session:s.ses")
	x.endSession()
	for _, other := range others {
		x.session("policy")
		x.do(step)
		x.deny("0x99D", other+" -P session:s.ses")
		x.endSession()
	}
	x.session("policy")
	x.do(step, allowed+" -P session:s.ses")
	x.endSession()
	x.do("tpm2_setprimarypolicy -C o")
	x.session("policy")
	x.do(step)
	x.deny("0x12F", others[0]+" -P session:s.ses") // no policy: this way is closed
	x.endSession()
}

// Policies that allow one command with exactly these parameters, objects, or templates.
func testExactPolicies(x *Run) {
	const define = "tpm2_nvdefine 0x1500014 -C o -a ownerread|ownerwrite -s "
	x.do(define + "8 --cphash cp.hash")
	x.ownerAllows("tpm2_policycphash -S s.ses --cphash cp.hash", define+"8", define+"9",
		"tpm2_nvdefine 0x1500015 -C o -a ownerread|ownerwrite -s 8", "tpm2_createprimary -C o -G ecc -c no.ctx")
	// The names of what is used: the owner and one index, whatever is done.
	x.do("tpm2_nvdefine 0x1500015 -C o -a ownerread|ownerwrite -s 8")
	x.write("names", sum(crypto.SHA256, "\x40\x00\x00\x01"+x.nvName("0x1500014")))
	x.ownerAllows("tpm2_policynamehash -S s.ses -n names", "tpm2_nvundefine 0x1500014 -C o", "tpm2_nvundefine 0x1500015 -C o")
	x.do("tpm2_nvundefine 0x1500015 -C o")
	x.do("tpm2_createprimary -C o -G ecc -c t.ctx --template-data template.area")
	x.write("template", sum(crypto.SHA256, x.read("template.area")))
	x.ownerAllows("tpm2_policytemplate -S s.ses --template-hash template", "tpm2_createprimary -C o -G ecc -c t2.ctx",
		"tpm2_createprimary -C o -G ecc384 -c no.ctx", "tpm2_nvdefine 0x1500014 -C o -s 8")
	x.do("tpm2_readpublic -c t.ctx -n t.name", "tpm2_readpublic -c t2.ctx -n t2.name")
	x.same("t.name", "t2.name")
	x.policyDuplication()
}

// nvName reads the name of an index.
func (x *Run) nvName(index string) string {
	_, rest, ok := strings.Cut(x.do("tpm2_nvreadpublic "+index), "name: ")
	if !ok {
		x.fatalf("tpm2_nvreadpublic shows no name of %s", index)
	}
	name, _, _ := strings.Cut(rest, "\n")
	b, err := hex.DecodeString(strings.TrimSpace(name))
	if err != nil {
		x.fatalf("the name of %s: %w", index, err)
	}
	return string(b)
}

// policyDuplication makes a key that may go to one parent and no other.
func (x *Run) policyDuplication() {
	x.parent()
	x.do("tpm2_createprimary -C o -G rsa -c new.ctx", "tpm2_readpublic -c new.ctx -n new.name", "tpm2_readpublic -c p.ctx -n p.name")
	x.session("trial") // the key's own name is not in the digest
	x.do("tpm2_policyduplicationselect -S s.ses -n p.name -N new.name -L policy")
	x.endSession()
	x.do("tpm2_create -C p.ctx -G ecc -u k.pub -r k.priv -L policy -a sensitivedataorigin|userwithauth|sign",
		"tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx -n k.name")
	const duplicate = "tpm2_duplicate -c k.ctx -G null -p session:s.ses -r dup -s seed -C "
	for _, refused := range []struct{ object, parent, to string }{
		{"k.name", "new.name", "p.ctx"},   // another parent than shown
		{"k.name", "p.name", "p.ctx"},     // shown, and not what the policy says
		{"p.name", "new.name", "new.ctx"}, // another key than shown
	} {
		x.session("policy")
		x.do("tpm2_policyduplicationselect -S s.ses -n " + refused.object + " -N " + refused.parent)
		x.deny("0x99D", duplicate+refused.to)
		x.endSession()
	}
	x.session("policy")
	x.do("tpm2_policyduplicationselect -S s.ses -n k.name -N new.name", duplicate+"new.ctx",
		"tpm2_import -C new.ctx -u k.pub -r new.priv -i dup -s seed")
	x.endSession()
}
