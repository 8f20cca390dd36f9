package attest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"xenvtpm/vtpmmgr-stub/proto"
)

// pcrCount is how many PCRs a PC client's TPM has in each bank.
const pcrCount = 24

// Rule says what a quote has to cover, and which values are right.
type Rule struct {
	PCRs   proto.PCRSelection // that must be quoted; mask 0: none
	Values map[int][][]byte   // PCR number to its allowed values; such a PCR must be quoted
}

// DefaultHardware is asked for where nothing else is: the PCRs that the manager's
// own policy covers by default (firmware, its configuration, the boot loader, Secure
// Boot). A hardware quote without them says nothing about what was started.
var DefaultHardware = Rule{PCRs: proto.PCRSelection{Alg: proto.AlgSHA256, Mask: 0xFF}}

func (t *Trust) hardware() Rule {
	if t.Hardware == nil {
		return DefaultHardware
	}
	return *t.Hardware
}

func (t *Trust) guest() Rule {
	if t.Guest == nil {
		return Rule{}
	}
	return *t.Guest
}

// mask is of all PCRs that the rule wants quoted.
func (u Rule) mask() uint32 {
	m := u.PCRs.Mask
	for pcr := range u.Values {
		m |= 1 << pcr
	}
	return m
}

// meets says what a quote of sel lacks. values are those of sel in rising order;
// without them nobody can judge what was quoted.
func (u Rule) meets(sel proto.PCRSelection, values [][]byte) error {
	if sel.Alg != u.PCRs.Alg {
		return fmt.Errorf("the quote is of bank %s", bankName(sel.Alg))
	}
	if lacks := u.mask() &^ sel.Mask; lacks != 0 {
		return fmt.Errorf("the quote does not cover PCR %s", numbers(lacks))
	}
	if len(values) != sel.Count() {
		return errors.New("their values are missing from the bundle")
	}
	i := 0
	for pcr := range pcrCount {
		if sel.Mask>>pcr&1 == 0 {
			continue
		}
		if allowed, ok := u.Values[pcr]; ok && !contains(allowed, values[i]) {
			return fmt.Errorf("PCR %d is %x, which the policy does not allow", pcr, values[i])
		}
		i++
	}
	return nil
}

func contains(list [][]byte, v []byte) bool {
	for _, w := range list {
		if bytes.Equal(v, w) {
			return true
		}
	}
	return false
}

// pcrs applies a rule to a quote; sel and values are zero if there is none.
func (r *Report) pcrs(c Check, whose string, rule Rule, sel proto.PCRSelection, values [][]byte, quoted bool) {
	if rule.mask() == 0 {
		r.unproven("that particular %s PCRs are quoted: none was asked for", whose)
		return
	}
	err := error(errMissing)
	if quoted {
		err = rule.meets(sel, values)
	}
	r.check(c, err, "%s PCRs %s:%s are quoted%s", whose, bankName(rule.PCRs.Alg), numbers(rule.mask()), rule.valueText())
	if rest := rule.mask() &^ keys(rule.Values); rest != 0 {
		r.unproven("that the values of %s PCRs %s are good ones: no policy names any", whose, numbers(rest))
	}
}

func (u Rule) valueText() string {
	if len(u.Values) == 0 {
		return ""
	}
	return ", and those of " + numbers(keys(u.Values)) + " have values that the policy allows"
}

func keys(values map[int][][]byte) (mask uint32) {
	for pcr := range values {
		mask |= 1 << pcr
	}
	return mask
}

// numbers writes a mask as "0-7,10".
func numbers(mask uint32) string {
	var parts []string
	for i := 0; i < 32; i++ {
		if mask>>i&1 == 0 {
			continue
		}
		j := i
		for j < 31 && mask>>(j+1)&1 == 1 {
			j++
		}
		if j > i {
			parts = append(parts, fmt.Sprintf("%d-%d", i, j))
		} else {
			parts = append(parts, fmt.Sprint(i))
		}
		i = j
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ",")
}

func bankName(alg uint16) string {
	switch alg {
	case proto.AlgSHA1:
		return "sha1"
	case proto.AlgSHA256:
		return "sha256"
	case proto.AlgSHA384:
		return "sha384"
	case proto.AlgSHA512:
		return "sha512"
	}
	return fmt.Sprintf("0x%04x", alg)
}
