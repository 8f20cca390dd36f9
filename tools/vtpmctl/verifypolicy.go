package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"

	"xenvtpm/tools/vtpmctl/attest"
	"xenvtpm/vtpmmgr-stub/proto"
)

// verifyPolicy is the file of --policy.
type verifyPolicy struct {
	Hardware *pcrPolicy `json:"hardware,omitempty"`
	Guest    *pcrPolicy `json:"guest,omitempty"`
	EventLog bool       `json:"event_log,omitempty"`
}

type pcrPolicy struct {
	PCRs   string              `json:"pcrs"`             // "sha256:0-7"
	Values map[string][]string `json:"values,omitempty"` // PCR to the values that are right, in hex
}

func readVerifyPolicy(name string) (p verifyPolicy, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return p, err
	}
	if err := proto.ParseAdmin(b, &p); err != nil {
		return p, fmt.Errorf("%s is no policy for verify: want hardware, guest and event_log, see docs/deep-quote.md", name)
	}
	if p.Hardware == nil && p.Guest == nil && !p.EventLog {
		return p, fmt.Errorf("%s asks for nothing", name)
	}
	return p, nil
}

// rule joins the file's part with a list of the command line; nil if neither asks.
func (p *pcrPolicy) rule(list string) (*attest.Rule, error) {
	if p == nil && list == "" {
		return nil, nil
	}
	if list == "none" {
		if p != nil {
			return nil, errors.New(`"none" contradicts the policy file`)
		}
		return &attest.Rule{}, nil
	}
	var u attest.Rule
	var err error
	if p != nil {
		if u, err = p.read(); err != nil {
			return nil, err
		}
	}
	if list == "" {
		return &u, nil
	}
	sel, err := parsePCRs(list)
	if err != nil {
		return nil, err
	}
	if p != nil && sel.Alg != u.PCRs.Alg {
		return nil, errors.New("the list and the policy file name different banks")
	}
	u.PCRs = proto.PCRSelection{Alg: sel.Alg, Mask: sel.Mask | u.PCRs.Mask}
	return &u, nil
}

func (p *pcrPolicy) read() (u attest.Rule, err error) {
	if u.PCRs, err = parsePCRs(p.PCRs); err != nil {
		return u, err
	}
	for text, list := range p.Values {
		pcr, err := strconv.ParseUint(text, 10, 8)
		if err != nil || pcr > 23 || u.PCRs.Mask>>pcr&1 == 0 {
			return u, fmt.Errorf("values for PCR %q, which pcrs does not name", text)
		}
		if len(list) == 0 {
			return u, fmt.Errorf("PCR %d has no value that is right", pcr)
		}
		if u.Values == nil {
			u.Values = map[int][][]byte{}
		}
		for _, v := range list {
			b, err := hex.DecodeString(v)
			if err != nil || len(b) != proto.DigestSize(u.PCRs.Alg) {
				return u, fmt.Errorf("PCR %d: %q is no digest of the bank in hex", pcr, v)
			}
			u.Values[int(pcr)] = append(u.Values[int(pcr)], b)
		}
	}
	return u, nil
}
