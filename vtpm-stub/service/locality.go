package service

import (
	"fmt"
	"strings"

	"xenvtpm/vtpmmgr-stub/proto"
)

// maxLocality is the highest locality that a guest may use at all.
const maxLocality = 4

// LocalityPolicy says which localities a guest may use. The zero value allows
// 0 to 4 to everybody: within one guest, localities separate nothing that the
// guest's own kernel could not undo. Rules matter where several domains share
// a vTPM, such as a domain builder and the guest that it measures.
type LocalityPolicy struct {
	rules map[[16]byte]uint8 // bit n: locality n
	rest  uint8              // for guests without a rule
	set   bool
}

// Allows reports whether the guest with that uuid may use the locality.
func (p LocalityPolicy) Allows(uuid [16]byte, locality uint8) bool {
	if locality > maxLocality {
		return false
	}
	if !p.set {
		return true
	}
	mask, ok := p.rules[uuid]
	if !ok {
		mask = p.rest
	}
	return mask>>locality&1 == 1
}

// ParseLocality reads the values of the locality options. "0,1" or "0-2" is
// for all guests that have no rule of their own, "<uuid>=0-3" for the guest
// whose vtpm line has that uuid. With rules for some and none for the rest, the
// rest may use no locality. (Xen's own vTPM names guests by XSM label.)
func ParseLocality(options []string) (LocalityPolicy, error) {
	p := LocalityPolicy{rules: make(map[[16]byte]uint8), set: len(options) > 0}
	for _, o := range options {
		name, list, named := strings.Cut(o, "=")
		if !named {
			name, list = "", o
		}
		mask, err := parseSet(list, maxLocality)
		if err != nil {
			return LocalityPolicy{}, fmt.Errorf("option locality=%s: %w", o, err)
		}
		if !named {
			p.rest |= uint8(mask)
			continue
		}
		u, err := proto.ParseUUID(name)
		if err != nil {
			return LocalityPolicy{}, fmt.Errorf("option locality=%s: %w", o, err)
		}
		p.rules[u] |= uint8(mask)
	}
	return p, nil
}
