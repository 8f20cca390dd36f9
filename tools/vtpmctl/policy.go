package main

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/proto"
)

// policyFile is a policy list as people keep it.
type policyFile struct {
	Group     proto.UUID    `json:"group"` // zero: the manager's root
	Sequence  uint64        `json:"sequence"`
	States    []policyState `json:"states"`
	Signature []byte        `json:"signature,omitempty"`
}

type policyState struct {
	PCRs      string   `json:"pcrs"`             // "sha256:0-7"
	Values    []string `json:"values,omitempty"` // for people; the digest counts
	Digest    string   `json:"digest"`
	Comment   string   `json:"comment,omitempty"` // not signed
	Signature []byte   `json:"signature,omitempty"`
}

// list converts to what is signed and sent.
func (p *policyFile) list() (*hwtpm.PolicyList, error) {
	l := &hwtpm.PolicyList{Group: p.Group, Sequence: p.Sequence, Signature: p.Signature}
	for i, s := range p.States {
		sel, err := parsePCRs(s.PCRs)
		if err != nil {
			return nil, fmt.Errorf("state %d: %w", i, err)
		}
		d, err := hex.DecodeString(s.Digest)
		if err != nil || len(d) != 32 {
			return nil, fmt.Errorf("state %d: the digest is not 64 hex digits", i)
		}
		if len(s.Values) > 0 {
			if err := checkValues(sel, s.Values, d); err != nil {
				return nil, fmt.Errorf("state %d: %w", i, err)
			}
		}
		l.Approvals = append(l.Approvals, hwtpm.Approval{PCRs: sel, Digest: [32]byte(d), Signature: s.Signature})
	}
	return l, nil
}

// checkValues: the values that a person reads must be those that are signed.
func checkValues(sel proto.PCRSelection, values []string, digest []byte) error {
	var raw [][]byte
	for _, v := range values {
		b, err := hex.DecodeString(v)
		if err != nil || len(b) != proto.DigestSize(sel.Alg) {
			return errors.New("a PCR value is malformed")
		}
		raw = append(raw, b)
	}
	if d := hwtpm.PCRDigest(raw); len(raw) != sel.Count() || string(d[:]) != string(digest) {
		return errors.New("the PCR values are not those of the digest")
	}
	return nil
}

func readPolicy(name string) (*policyFile, error) {
	return readFile[policyFile](name, "policy file")
}

func (p *policyFile) write(name string) error { return writeFile(name, p) }

var banks = map[string]uint16{"sha256": proto.AlgSHA256, "sha384": proto.AlgSHA384, "sha512": proto.AlgSHA512, "sha1": proto.AlgSHA1}

// parsePCRs reads "0-7,10" or "sha384:0-7".
func parsePCRs(v string) (proto.PCRSelection, error) {
	s := proto.PCRSelection{Alg: proto.AlgSHA256}
	list := v
	if bank, rest, ok := strings.Cut(v, ":"); ok {
		if s.Alg = banks[bank]; s.Alg == 0 {
			return s, fmt.Errorf("unknown PCR bank %q", bank)
		}
		list = rest
	}
	for _, part := range strings.Split(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(from, 10, 8)
		b := a
		if isRange && err == nil {
			b, err = strconv.ParseUint(to, 10, 8)
		}
		if err != nil || a > b || b > 23 {
			return s, fmt.Errorf("%q: want PCRs 0 to 23, as in 0-7,10", v)
		}
		for ; a <= b; a++ {
			s.Mask |= 1 << a
		}
	}
	return s, nil
}

// pcrText is parsePCRs' inverse.
func pcrText(s proto.PCRSelection) string {
	var parts []string
	for i := 0; i < 24; i++ {
		if s.Mask>>i&1 == 0 {
			continue
		}
		j := i
		for j < 23 && s.Mask>>(j+1)&1 == 1 {
			j++
		}
		if j > i {
			parts = append(parts, fmt.Sprintf("%d-%d", i, j))
		} else {
			parts = append(parts, fmt.Sprint(i))
		}
		i = j
	}
	for name, alg := range banks {
		if alg == s.Alg {
			return name + ":" + strings.Join(parts, ",")
		}
	}
	return strings.Join(parts, ",")
}

// newOptions are the flags of policy new.
type newOptions struct {
	group, pcrs, from, comment string
	sequence                   uint64
	set                        map[int][]byte
}

func (o *newOptions) define(fs *flag.FlagSet) {
	o.set = map[int][]byte{}
	fs.StringVar(&o.group, "group", "", "group, by name or uuid")
	fs.StringVar(&o.pcrs, "pcrs", "sha256:0-7", "PCRs")
	fs.StringVar(&o.from, "from", "", "policy whose states are kept")
	fs.StringVar(&o.comment, "comment", "", "what this state is")
	fs.Uint64Var(&o.sequence, "sequence", 0, "number of the list")
	fs.Func("set", "PCR=HEX: a value that an upgrade will lead to", func(v string) error { return setValue(o.set, v) })
}

// runPolicyNew adds the present state to a new list, or (--from) to those of an
// older one, with the next sequence number.
func runPolicyNew(e *env, args []string) error {
	var o newOptions
	rest, err := e.parse(args, 1, o.define)
	if err != nil {
		return err
	}
	p := &policyFile{}
	if o.from != "" {
		if p, err = readPolicy(o.from); err != nil {
			return err
		}
		p.unsign()
	}
	if o.group != "" {
		if p.Group, err = e.group(o.group); err != nil {
			return err
		}
	}
	if p.Sequence++; o.sequence != 0 {
		p.Sequence = o.sequence
	}
	state, err := e.newState(&o)
	if err != nil {
		return err
	}
	p.States = append(p.States, state)
	if err := p.write(rest[0]); err != nil {
		return err
	}
	return e.print(p, func() {
		fmt.Fprintf(e.out, "%s: policy %d for group %s, %d states, not signed\n", rest[0], p.Sequence, groupText(p.Group), len(p.States))
	})
}

func (p *policyFile) unsign() {
	p.Signature = nil
	for i := range p.States {
		p.States[i].Signature = nil
	}
}

// newState reads the PCRs, with the values of --set in their places.
func (e *env) newState(o *newOptions) (policyState, error) {
	sel, err := parsePCRs(o.pcrs)
	if err != nil {
		return policyState{}, err
	}
	values, err := e.readPCRs(sel)
	if err != nil {
		return policyState{}, err
	}
	if err := override(sel, values, o.set); err != nil {
		return policyState{}, err
	}
	d := hwtpm.PCRDigest(values)
	state := policyState{PCRs: pcrText(sel), Digest: hex.EncodeToString(d[:]), Comment: o.comment}
	for _, v := range values {
		state.Values = append(state.Values, hex.EncodeToString(v))
	}
	return state, nil
}

// setValue reads PCR=HEX.
func setValue(set map[int][]byte, v string) error {
	pcr, value, ok := strings.Cut(v, "=")
	n, err := strconv.Atoi(pcr)
	b, herr := hex.DecodeString(value)
	if !ok || err != nil || herr != nil {
		return errors.New("want PCR=HEX")
	}
	set[n] = b
	return nil
}

// override puts values of the future in the places of the present ones.
func override(sel proto.PCRSelection, values [][]byte, set map[int][]byte) error {
	i := 0
	for pcr := range 24 {
		if sel.Mask>>pcr&1 == 0 {
			continue
		}
		if v, ok := set[pcr]; ok {
			if len(v) != len(values[i]) {
				return fmt.Errorf("--set %d: %d bytes, want %d", pcr, len(v), len(values[i]))
			}
			values[i] = v
			delete(set, pcr)
		}
		i++
	}
	for pcr := range set {
		return fmt.Errorf("--set %d: that PCR is not among --pcrs", pcr)
	}
	return nil
}

func runPolicySign(e *env, args []string) error {
	var keyFile *string
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) { keyFile = fs.String("key", "", "approval key") })
	if err != nil {
		return err
	}
	if *keyFile == "" {
		return errUsage
	}
	p, err := readPolicy(rest[0])
	if err != nil {
		return err
	}
	l, err := p.list()
	if err != nil {
		return err
	}
	signer, err := e.loadSigner(*keyFile)
	if err != nil {
		return err
	}
	if err := l.Sign(signer.sign); err != nil {
		return err
	}
	if err := l.Verify(signer.public); err != nil {
		return fmt.Errorf("the signature does not verify: %w", err)
	}
	for i := range p.States {
		p.States[i].Signature = l.Approvals[i].Signature
	}
	p.Signature = l.Signature
	if err := p.write(rest[0]); err != nil {
		return err
	}
	return e.print(p, func() {
		fmt.Fprintf(e.out, "%s: policy %d signed by %s\n", rest[0], p.Sequence, hwtpm.AuthorityName(signer.public))
	})
}

func runPolicyShow(e *env, args []string) error {
	var keyFile *string
	rest, err := e.parse(args, 1, func(fs *flag.FlagSet) { keyFile = fs.String("authority", "", "approval key") })
	if err != nil {
		return err
	}
	p, err := readPolicy(rest[0])
	if err != nil {
		return err
	}
	l, err := p.list()
	if err != nil {
		return err
	}
	verdict := "signed; not checked (give --authority)"
	if len(p.Signature) == 0 {
		verdict = "not signed"
	}
	bad := false
	if *keyFile != "" {
		public, err := loadAuthority(*keyFile)
		if err != nil {
			return err
		}
		verdict = "signed by " + hwtpm.AuthorityName(public)
		if err := l.Verify(public); err != nil {
			verdict, bad = "NOT VALID: "+err.Error(), true
		}
	}
	err = e.print(struct {
		*policyFile
		Verdict string `json:"verdict"`
	}{p, verdict}, func() {
		fmt.Fprintf(e.out, "policy %d for group %s: %s\n", p.Sequence, groupText(p.Group), verdict)
		for _, s := range p.States {
			fmt.Fprintf(e.out, "  %s %s %s\n", s.PCRs, s.Digest, printable(s.Comment))
		}
	})
	if err == nil && bad {
		err = errFailedCheck
	}
	return err
}

// encoded reads a signed policy for sending.
func encoded(name string) ([]byte, *policyFile, error) {
	p, err := readPolicy(name)
	if err != nil {
		return nil, nil, err
	}
	if len(p.Signature) == 0 {
		return nil, nil, fmt.Errorf("%s is not signed; see vtpmctl policy sign", name)
	}
	l, err := p.list()
	if err != nil {
		return nil, nil, err
	}
	return l.Append(nil), p, nil
}

func runPolicyApply(e *env, args []string) error {
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	b, p, err := encoded(rest[0])
	if err != nil {
		return err
	}
	return e.change(proto.OrdPolicyApply, proto.PolicyApply{Policy: b}, fmt.Sprintf("policy %d for group %s is in force", p.Sequence, groupText(p.Group)))
}
