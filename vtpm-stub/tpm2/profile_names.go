package tpm2

import (
	"fmt"
	"strings"
)

// Names of the profiles that a new TPM can get.
const (
	ProfileDefault = "default-v1" // what libtpms 0.10 offers by default
	ProfileNull    = "null"       // what libtpms 0.9 offers
	ProfileOwn     = "xenvtpm-v1" // all that this engine has
	ProfileCustom  = "custom"     // the caller's own list; "custom:NAME" as well
)

// profileFormer names what TPMs without a saved profile have. No new TPM gets it.
const profileFormer = "xenvtpm-v0"

// ProfileNames lists the names that ProfileNamed takes, the default first.
func ProfileNames() []string { return []string{ProfileDefault, ProfileNull, ProfileOwn, ProfileCustom} }

// ProfileNamed returns a profile by name. The custom one is that of CustomProfile with
// empty lists.
func ProfileNamed(name string) (*Profile, error) {
	switch {
	case name == ProfileDefault:
		return upTo(name, levelLibtpms, levelLibtpms), nil
	case name == ProfileNull:
		return upTo(name, levelNull, levelNull), nil
	case name == ProfileOwn:
		return upTo(name, levelOwn, levelOwn), nil
	case isCustom(name):
		return CustomProfile(name, 0, "", "")
	}
	return nil, fmt.Errorf("tpm2: there is no profile %q; there are %s", name, strings.Join(ProfileNames(), ", "))
}

// Description is a sentence for people.
func (p *Profile) Description() string {
	switch {
	case p.name == ProfileDefault:
		return "Algorithms and commands of libtpms 0.10; what deployed clients know."
	case p.name == ProfileNull:
		return "Algorithms and commands of libtpms 0.9."
	case p.name == ProfileOwn:
		return "All that this engine has: also SHA-3, HKDF, ML-KEM, ML-DSA and the commands of version 185."
	case p.former:
		return "What TPMs had that were made before there were profiles."
	}
	return "Algorithms and commands that the user chose."
}

func isCustom(name string) bool {
	return name == ProfileCustom || strings.HasPrefix(name, ProfileCustom+":")
}

// DefaultProfile is the profile of a new TPM whose Config names none.
func DefaultProfile() *Profile { return upTo(ProfileDefault, levelLibtpms, levelLibtpms) }

// formerProfile is that of TPMs which were saved without one.
func formerProfile() *Profile {
	p := upTo(profileFormer, levelOwn, levelOwn)
	p.former, p.minRSA = true, 2048
	p.algs[0] &^= 1 << TPM_ALG_TDES
	for i, e := range curveTable {
		if e.curve == TPM_ECC_NIST_P192 || e.curve == TPM_ECC_BN_P638 {
			p.curves &^= 1 << i
		}
	}
	return p.finish()
}

// upTo returns the profile of all that has at most a level.
func upTo(name string, level, limit int) *Profile {
	p := &Profile{name: name, level: level, minRSA: rsaSizes[0], minECC: curveTable[0].bits}
	for _, e := range algTable {
		if algLevel(e.alg) <= limit {
			p.setAlg(e.alg)
		}
	}
	p.curves = 1<<len(curveTable) - 1
	for i, a := range blockCiphers {
		p.minSym[i] = symSizes(a)[0]
	}
	p.allCommands(limit)
	return p.finish()
}

// allCommands puts in the commands that have at most a level.
func (p *Profile) allCommands(limit int) {
	for _, d := range implementedCommands() {
		if commandLevel(d.cc) <= limit {
			p.setCommand(d.cc)
		}
	}
}

func (p *Profile) setCommand(cc CC) {
	if cc == TPM_CC_Vendor_TCG_Test {
		p.vendor = true
		return
	}
	p.commands.put(cc, true)
}
