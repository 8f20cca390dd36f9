package tpm2

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The lists of a profile as text: "rsa,rsa-min-size=2048,sha256,..." and "0x11f-0x122,0x124,...".

// maxProfileName bounds a profile's name, maxProfileList one of its lists, in octets.
const (
	maxProfileName = 32
	maxProfileList = 2048
)

// requiredAlgs cannot be left out: clients, endorsement keys and the engine's own protection need them.
var requiredAlgs = []AlgID{
	TPM_ALG_RSA, TPM_ALG_HMAC, TPM_ALG_AES, TPM_ALG_MGF1, TPM_ALG_KEYEDHASH, TPM_ALG_XOR, TPM_ALG_SHA256, TPM_ALG_SHA384,
	TPM_ALG_OAEP, TPM_ALG_ECDSA, TPM_ALG_ECDH, TPM_ALG_KDF1_SP800_56A, TPM_ALG_KDF2, TPM_ALG_KDF1_SP800_108,
	TPM_ALG_ECC, TPM_ALG_SYMCIPHER, TPM_ALG_CFB,
}

// requiredCurves cannot be left out either.
var requiredCurves = []ECCCurve{TPM_ECC_NIST_P256, TPM_ECC_NIST_P384}

// requiredCommands cannot be left out: a TPM without them cannot be started, asked or used.
var requiredCommands = []CC{
	TPM_CC_EvictControl, TPM_CC_HierarchyChangeAuth, TPM_CC_CreatePrimary, TPM_CC_PCR_Event, TPM_CC_SelfTest, TPM_CC_Startup,
	TPM_CC_Shutdown, TPM_CC_Certify, TPM_CC_NV_Read, TPM_CC_Create, TPM_CC_Import, TPM_CC_Load, TPM_CC_Quote,
	TPM_CC_SequenceUpdate, TPM_CC_FlushContext, TPM_CC_NV_ReadPublic, TPM_CC_ReadPublic, TPM_CC_StartAuthSession,
	TPM_CC_GetCapability, TPM_CC_GetTestResult, TPM_CC_Hash, TPM_CC_PCR_Read, TPM_CC_PCR_Extend,
	TPM_CC_EventSequenceComplete, TPM_CC_HashSequenceStart,
}

// CustomProfile returns a profile of the caller's choice. An empty list is that of the default
// profile as far as the level has it; level 0 is what the lists need, and at least libtpms' highest.
func CustomProfile(name string, level int, algorithms, commands string) (*Profile, error) {
	if !isCustom(name) || len(name) > maxProfileName {
		return nil, fmt.Errorf("tpm2: only the profile custom has lists, not %q", name)
	}
	p, err := parseProfile(name, level, algorithms, commands)
	if err != nil {
		return nil, fmt.Errorf("tpm2: profile %s: %w", name, err)
	}
	return p, nil
}

// parseProfile makes a profile of its parts.
func parseProfile(name string, level int, algorithms, commands string) (*Profile, error) {
	if level < 0 || level > levelOwn {
		return nil, fmt.Errorf("StateFormatLevel %d is not from 1 to %d", level, levelOwn)
	}
	limit := levelLibtpms
	if level != 0 {
		limit = min(limit, level)
	}
	p := upTo(name, level, limit)
	if algorithms != "" {
		p.algs, p.curves = [4]uint64{}, 0
		if err := p.parseAlgorithms(algorithms); err != nil {
			return nil, err
		}
	}
	if commands != "" {
		p.commands, p.vendor = ccSet{}, false
		if err := p.parseCommands(commands); err != nil {
			return nil, err
		}
	}
	need := p.needs()
	if level == 0 {
		p.level = max(levelLibtpms, need)
	}
	if need > p.level {
		return nil, fmt.Errorf("what is listed needs StateFormatLevel %d, not %d", need, level)
	}
	return p.finish(), nil
}

func (p *Profile) parseAlgorithms(list string) error {
	for verb := range strings.SplitSeq(list, ",") {
		verb = strings.TrimSpace(verb)
		if key, value, ok := strings.Cut(verb, "-min-size="); ok {
			if err := p.setMinSize(key, value); err != nil {
				return err
			}
			continue
		}
		if !p.setVerb(verb) {
			return fmt.Errorf("unknown algorithm %q", verb)
		}
	}
	for _, a := range requiredAlgs {
		if !p.offers(a) {
			return fmt.Errorf("algorithm %s cannot be left out", algVerb(a))
		}
	}
	for _, c := range requiredCurves {
		if !p.curve(c) {
			return fmt.Errorf("the curves ecc-nist-p256 and ecc-nist-p384 cannot be left out")
		}
	}
	return nil
}

// setVerb puts in an algorithm, a curve or a family of curves.
func (p *Profile) setVerb(verb string) (known bool) {
	for _, e := range algTable {
		if e.verb == verb {
			p.setAlg(e.alg)
			return true
		}
	}
	for i, e := range curveTable {
		if e.verb == verb || e.group == verb && verb != "" {
			p.curves |= 1 << i
			known = true
		}
	}
	return known || verb == "null"
}

// setMinSize takes "rsa-min-size=2048" and its like.
func (p *Profile) setMinSize(key, value string) error {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return fmt.Errorf("%s-min-size: %q is not a number", key, value)
	}
	bits, sizes, dst := uint16(n), []uint16(nil), (*uint16)(nil)
	switch key {
	case "rsa":
		sizes, dst = rsaSizes, &p.minRSA
	case "ecc":
		sizes, dst = []uint16{192, 224, 256}, &p.minECC
	default:
		for i, a := range blockCiphers {
			if algVerb(a) == key {
				sizes, dst = symSizes(a), &p.minSym[i]
			}
		}
	}
	if !slices.Contains(sizes, bits) {
		return fmt.Errorf("%s-min-size=%s is not one of %v", key, value, sizes)
	}
	*dst = bits
	return nil
}

func algVerb(a AlgID) string {
	for _, e := range algTable {
		if e.alg == a {
			return e.verb
		}
	}
	return ""
}

func (p *Profile) parseCommands(list string) error {
	for item := range strings.SplitSeq(list, ",") {
		lo, hi, ranged := strings.Cut(strings.TrimSpace(item), "-")
		if !ranged {
			hi = lo
		}
		from, err1 := strconv.ParseUint(lo, 0, 32)
		to, err2 := strconv.ParseUint(hi, 0, 32)
		if err1 != nil || err2 != nil || from > to || to-from >= commandSlots {
			return fmt.Errorf("%q is not a command code or a range of them", item)
		}
		for cc := CC(from); cc <= CC(to); cc++ {
			if i := commandSlot(cc); i < 0 || indexCommands(nil)[i] == nil {
				return fmt.Errorf("command %#x is not implemented", uint32(cc))
			}
			p.setCommand(cc)
		}
	}
	for _, cc := range requiredCommands {
		if !p.command(cc) {
			return fmt.Errorf("command %#x cannot be left out", uint32(cc))
		}
	}
	return nil
}

// Algorithms returns the list of algorithms, with families of curves by their common name.
func (p *Profile) Algorithms() string { return p.algorithmText(true) }

// algorithmText writes the list in the order of identifiers. short: with verbs for families
// of curves, whose meaning may grow.
func (p *Profile) algorithmText(short bool) string {
	var list []string
	for _, e := range algTable {
		if e.alg > TPM_ALG_NULL && !slices.Contains(list, "null") {
			list = append(list, "null")
		}
		if !p.offers(e.alg) {
			continue
		}
		list = append(list, e.verb)
		switch e.alg {
		case TPM_ALG_RSA:
			list = append(list, fmt.Sprintf("rsa-min-size=%d", p.minRSA))
		case TPM_ALG_ECC:
			list = append(list, fmt.Sprintf("ecc-min-size=%d", p.minECC))
			list = append(list, p.curveText(short)...)
		}
		if i := slices.Index(blockCiphers[:], e.alg); i >= 0 {
			list = append(list, fmt.Sprintf("%s-min-size=%d", e.verb, p.minSym[i]))
		}
	}
	return strings.Join(list, ",")
}

// curveText lists the curves; a whole family by its verb if short.
func (p *Profile) curveText(short bool) (list []string) {
	for i, e := range curveTable {
		switch {
		case p.curves&(1<<i) == 0:
		case short && e.group != "" && p.wholeGroup(e.group):
			if !slices.Contains(list, e.group) {
				list = append(list, e.group)
			}
		default:
			list = append(list, e.verb)
		}
	}
	return list
}

func (p *Profile) wholeGroup(group string) bool {
	for i, e := range curveTable {
		if e.group == group && p.curves&(1<<i) == 0 {
			return false
		}
	}
	return true
}

// Commands returns the list of commands as ranges of codes.
func (p *Profile) Commands() string { return p.commandList }

func (p *Profile) commandText() string {
	var list []string
	for slot := 0; slot < vendorSlot; slot++ {
		if !p.commands.has(ccFirst + CC(slot)) {
			continue
		}
		from := slot
		for slot+1 < vendorSlot && p.commands.has(ccFirst+CC(slot)+1) {
			slot++
		}
		text := fmt.Sprintf("%#x", uint32(ccFirst)+uint32(from))
		if slot > from {
			text += fmt.Sprintf("-%#x", uint32(ccFirst)+uint32(slot))
		}
		list = append(list, text)
	}
	if p.vendor {
		list = append(list, fmt.Sprintf("%#x", uint32(TPM_CC_Vendor_TCG_Test)))
	}
	return strings.Join(list, ",")
}

// archiveProfile is the saved form. TPMs without a profile of their own are saved without one.
func archiveProfile(a *archive, p **Profile) {
	if !a.loading() {
		if (*p).former {
			return
		}
		a.need(4)
	} else if a.version < 4 {
		*p = formerProfile()
		return
	}
	var name, algorithms, commands []byte
	var level uint32
	if !a.loading() {
		name, level = []byte((*p).name), uint32((*p).level)
		algorithms, commands = []byte((*p).algorithmList), []byte((*p).commandList)
	}
	a.bytes(&name, maxProfileName)
	a.u32(&level)
	a.bytes(&algorithms, maxProfileList)
	a.bytes(&commands, maxProfileList)
	if !a.loading() || a.in.rc != TPM_RC_SUCCESS {
		return
	}
	q, err := parseProfile(string(name), int(level), string(algorithms), string(commands))
	if err != nil || level == 0 || len(algorithms) == 0 || len(commands) == 0 {
		a.bad()
		return
	}
	*p = q
}
