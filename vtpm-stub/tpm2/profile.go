package tpm2

// Profile says what a TPM offers of what the engine implements: algorithms, curves, sizes of keys
// and commands. What is not in it is in no list of TPM2_GetCapability and refused like something
// that is not implemented. It is chosen when a TPM is made, saved with it, and never changes.
// Names, verbs and levels are libtpms' (TPMLIB_SetProfile(3)).
//
// A nil *Profile offers all; it is for what this TPM has made itself.
type Profile struct {
	name     string
	level    int       // StateFormatLevel
	former   bool      // of TPMs that were saved without a profile
	algs     [4]uint64 // bit per AlgID
	curves   uint32    // bit per entry of curveTable
	commands ccSet
	vendor   bool // TPM2_Vendor_TCG_Test
	// Smallest keys in bits.
	minRSA, minECC uint16
	minSym         [len(blockCiphers)]uint16

	// What finish makes of the rest.
	spec                       Specification
	algorithmList, commandList string // as they are saved
}

// StateFormatLevels of libtpms, and ours above them: a libtpms never takes such a profile.
const (
	levelNull             = 1 // as libtpms 0.9
	levelECCEncrypt       = 3 // TPM2_ECC_Encrypt, TPM2_ECC_Decrypt
	level192              = 4 // keys of 192 bits for block ciphers
	levelPolicyParameters = 5 // TPM2_PolicyCapability, TPM2_PolicyParameters
	levelLibtpms          = 7 // the highest of libtpms 0.10
	levelOwn              = 100
)

// Name returns the name, such as "default-v1".
func (p *Profile) Name() string { return p.name }

// StateFormatLevel is libtpms' number for how much a reader of the state must know.
func (p *Profile) StateFormatLevel() int { return p.level }

// offers reports whether the TPM has an algorithm; that it is implemented is not looked at.
func (p *Profile) offers(a AlgID) bool {
	return p == nil || a < 256 && p.algs[a/64]&(1<<(a%64)) != 0
}

func (p *Profile) setAlg(a AlgID) { p.algs[a/64] |= 1 << (a % 64) }

// hash reports whether a is a hash algorithm of the TPM.
func (p *Profile) hash(a AlgID) bool { return hashImplemented(a) && p.offers(a) }

// hashes lists the hash algorithms in the order of banks.
func (p *Profile) hashes() (list []AlgID) {
	for _, a := range hashAlgs {
		if p.offers(a) {
			list = append(list, a)
		}
	}
	return list
}

// curve reports whether c is a curve of the TPM.
func (p *Profile) curve(c ECCCurve) bool {
	for i := range curveTable {
		if e := &curveTable[i]; e.curve == c {
			return p == nil || p.curves&(1<<i) != 0 && e.bits >= p.minECC
		}
	}
	return false
}

// rsaBits reports whether RSA keys of that size are offered.
func (p *Profile) rsaBits(bits uint16) bool {
	for _, n := range rsaSizes {
		if n == bits {
			return p == nil || n >= p.minRSA
		}
	}
	return false
}

// symBits reports whether keys of that size are offered for a block cipher.
func (p *Profile) symBits(a AlgID, bits uint16) bool {
	if !a.SymKeyBits(int(bits)) {
		return false
	}
	if p == nil {
		return true
	}
	for i, c := range blockCiphers {
		if c == a {
			return bits >= p.minSym[i] && (bits != 192 || a == TPM_ALG_TDES || p.level >= level192)
		}
	}
	return false
}

// schemeClass is that of an offered scheme, else 0.
func (p *Profile) schemeClass(a AlgID) int {
	if a != TPM_ALG_NULL && !p.offers(a) {
		return 0
	}
	return schemeClass(a)
}

// command reports whether the TPM has a command; that it is implemented is not looked at.
func (p *Profile) command(cc CC) bool {
	return p == nil || p.commands.has(cc) || cc == TPM_CC_Vendor_TCG_Test && p.vendor
}

// ml reports whether there is anything of ML-KEM or ML-DSA.
func (p *Profile) ml() bool {
	return p.offers(TPM_ALG_MLKEM) || p.offers(TPM_ALG_MLDSA) || p.offers(TPM_ALG_HASH_MLDSA)
}

// algorithms lists what TPM_CAP_ALGS reports.
func (p *Profile) algorithms() (list []algEntry) {
	for _, e := range algTable {
		if !p.offers(e.alg) {
			continue
		}
		if former, ok := formerAttrs[e.alg]; ok && p.former {
			e.attrs = former
		}
		list = append(list, e)
	}
	return list
}

// eccCurves lists the curves by identifier.
func (p *Profile) eccCurves() (list []ECCCurve) {
	for _, e := range curveTable {
		if p.curve(e.curve) {
			list = append(list, e.curve)
		}
	}
	return list
}

// RSAKeySizes returns the offered sizes in bits.
func (p *Profile) RSAKeySizes() (list []int) {
	for _, n := range rsaSizes {
		if p.rsaBits(n) {
			list = append(list, int(n))
		}
	}
	return list
}

// CamelliaKeySizes returns the offered sizes in bits; none without Camellia.
func (p *Profile) CamelliaKeySizes() (list []int) {
	for _, n := range symSizes(TPM_ALG_CAMELLIA) {
		if p.offers(TPM_ALG_CAMELLIA) && p.symBits(TPM_ALG_CAMELLIA, n) {
			list = append(list, int(n))
		}
	}
	return list
}

// Specification is the issue of the TPM 2.0 Library that a TPM says it follows:
// TPM_PT_REVISION, TPM_PT_DAY_OF_YEAR and TPM_PT_YEAR.
type Specification struct{ Revision, DayOfYear, Year uint32 }

// Issues of the specification. From version 185 on the day is the errata level and
// the year is zero (TPM20-P2 section 6.13).
var (
	spec159 = Specification{159, 312, 2019}
	spec164 = Specification{164, 75, 2021}
	spec183 = Specification{183, 25, 2024}
	spec185 = Specification{185, 0, 0}
)

// Specification returns the issue that the TPM follows.
func (p *Profile) Specification() Specification { return p.spec }

// issue is the oldest issue that has all that is offered; TPMs saved without a
// profile stay with 1.59.
func (p *Profile) issue() Specification {
	switch level := p.needs(); {
	case p.former:
		return spec159
	case level >= levelOwn:
		return spec185
	case level >= levelECCEncrypt:
		return spec183
	}
	return spec164
}

// needs returns the lowest StateFormatLevel that has all algorithms and commands.
func (p *Profile) needs() int {
	level := levelNull
	for _, e := range algTable {
		if p.offers(e.alg) {
			level = max(level, algLevel(e.alg))
		}
	}
	for _, d := range implementedCommands() {
		if p.command(d.cc) {
			level = max(level, commandLevel(d.cc))
		}
	}
	return level
}

// algLevel is the StateFormatLevel that has an algorithm.
func algLevel(a AlgID) int {
	switch a {
	case TPM_ALG_HKDF, TPM_ALG_SHA3_256, TPM_ALG_SHA3_384, TPM_ALG_SHA3_512,
		TPM_ALG_MLKEM, TPM_ALG_MLDSA, TPM_ALG_HASH_MLDSA:
		return levelOwn
	}
	return levelNull
}

// commandLevel is the StateFormatLevel that has a command.
func commandLevel(cc CC) int {
	switch {
	case cc == TPM_CC_ECC_Encrypt || cc == TPM_CC_ECC_Decrypt:
		return levelECCEncrypt
	case cc == TPM_CC_PolicyCapability || cc == TPM_CC_PolicyParameters:
		return levelPolicyParameters
	case cc >= TPM_CC_ACT_SetTimeout:
		return levelOwn
	}
	return levelNull
}

// implementedCommands lists the rows of the command tables that have a handler.
func implementedCommands() (list []*command) {
	for _, d := range indexCommands(nil) {
		if d != nil {
			list = append(list, d)
		}
	}
	return list
}

// withRSA1024 is the profile with RSA keys of 1024 bits.
func (p *Profile) withRSA1024() *Profile {
	q := *p
	q.minRSA = 1024
	return q.finish()
}

// WithoutRSA1024 is the profile without RSA keys of 1024 bits.
func (p *Profile) WithoutRSA1024() *Profile {
	q := *p
	q.minRSA = max(q.minRSA, 2048)
	return q.finish()
}

// finish makes what is derived of a new profile.
func (p *Profile) finish() *Profile {
	p.spec = p.issue()
	p.algorithmList, p.commandList = p.algorithmText(false), p.commandText()
	return p
}

// debugResetLoc has a bit for each locality that may reset PCR 16 and 23. PTP has all five;
// libtpms leaves locality 4 out.
func (p *Profile) debugResetLoc() uint8 {
	if p.level > levelLibtpms {
		return 0x1F
	}
	return 0x0F
}
