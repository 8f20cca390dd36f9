package tpm2

import "encoding/binary"

// cmdPolicyCapability is TPM2_PolicyCapability (v185, P3 section 23.23).
//
//	TPM_RC_POLICY     the comparison fails, or there is no such property and the operation
//	                  is not TPM_EO_NEQ
//	TPM_RC_RANGE      offset and operandB reach past the property
//	TPM_RC_SIZE   P1  operandB is longer than the largest digest
//	TPM_RC_VALUE  P3  not a TPM_EO
//	TPM_RC_VALUE  P4  the capability is unknown, or TPM_CAP_PCRS
//	TPM_RC_VALUE  P5  the capability has no such kind of property
func cmdPolicyCapability(t *TPM, c *call) RC {
	operandB := c.in.param().b2(maxDigest)
	offset := c.in.param().u16()
	op := c.in.param().operation()
	capability := c.in.param().u32()
	property := c.in.param().u32()
	if rc := c.in.end(); rc != TPM_RC_SUCCESS {
		return rc
	}
	s := c.session(0)
	operandA, rc := t.capabilityEntry(capability, property)
	if rc != TPM_RC_SUCCESS {
		return rc
	}
	if !s.trial() {
		if rc := compareCapability(operandA, operandB, int(offset), op); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	args := t.hash.Sum(s.hash, nil, operandB, binary.BigEndian.AppendUint16(nil, offset),
		binary.BigEndian.AppendUint16(nil, op), binary.BigEndian.AppendUint32(nil, capability),
		binary.BigEndian.AppendUint32(nil, property))
	s.extend(t, TPM_CC_PolicyCapability, args)
	return TPM_RC_SUCCESS
}

// compareCapability compares from an offset on; a is nil when there is no such property.
func compareCapability(a, b []byte, offset int, op uint16) RC {
	if a == nil {
		if op == TPM_EO_NEQ {
			return TPM_RC_SUCCESS
		}
		return TPM_RC_POLICY
	}
	if offset+len(b) > len(a) {
		return TPM_RC_RANGE
	}
	if !compare(a[offset:offset+len(b)], b, op) {
		return TPM_RC_POLICY
	}
	return TPM_RC_SUCCESS
}

// capabilityEntry returns the structure of one property (table 184), nil if there is
// none.
func (t *TPM) capabilityEntry(capability, property uint32) ([]byte, RC) {
	if capability == TPM_CAP_PCRS {
		return nil, TPM_RC_VALUE.Param(4)
	}
	w := writer{b: make([]byte, 0, maxCapBuffer)}
	switch _, rc := t.capability(&w, capability, property, 1); rc {
	case TPM_RC_SUCCESS:
	case TPM_RC_VALUE.Param(1):
		return nil, TPM_RC_VALUE.Param(4)
	default:
		return nil, TPM_RC_VALUE.Param(5)
	}
	r := reader{b: w.b}
	if r.u32() == 0 {
		return nil, TPM_RC_SUCCESS
	}
	entry := r.b
	var key uint32
	switch capability {
	case TPM_CAP_ALGS, TPM_CAP_ECC_CURVES:
		key = uint32(r.u16())
	case TPM_CAP_COMMANDS:
		key = r.u32() & 0x2000FFFF
	default:
		key = r.u32()
	}
	if key != property { // the list goes on with the next one
		return nil, TPM_RC_SUCCESS
	}
	return entry, TPM_RC_SUCCESS
}
