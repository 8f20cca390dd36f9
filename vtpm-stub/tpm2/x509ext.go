package tpm2

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// TPMA_X509_KEY_USAGE bits (TPM20-P2 section 8.11).
const (
	usageDecipherOnly     = 1 << 23
	usageEncipherOnly     = 1 << 24
	usageCRLSign          = 1 << 25
	usageKeyCertSign      = 1 << 26
	usageKeyAgreement     = 1 << 27
	usageDataEncipherment = 1 << 28
	usageKeyEncipherment  = 1 << 29
	usageNonrepudiation   = 1 << 30
	usageDigitalSignature = 1 << 31
)

// usageAllowed reports whether a key can do what a certificate says of it.
func usageAllowed(p *TPMT_PUBLIC, usage uint32) bool {
	a := p.Attributes
	switch {
	case usage&(usageDigitalSignature|usageKeyCertSign|usageCRLSign) != 0 && !a.has(objSign),
		usage&(usageDataEncipherment|usageKeyAgreement|usageEncipherOnly|usageDecipherOnly) != 0 && !a.has(objDecrypt),
		usage&usageKeyEncipherment != 0 && !(p.asymmetric() && a.has(objDecrypt|objRestricted)),
		usage&usageNonrepudiation != 0 && !a.has(objFixedTPM):
		return false
	}
	return true
}

// checkExtensions checks key usage, which must be there, and TPMA_OBJECT, which may be,
// against the key that is certified. der is the [3] element.
//
// Errors, without a number: TPM_RC_ATTRIBUTES when the key is not as they say, TPM_RC_VALUE
// when they are malformed, missing or there twice.
func checkExtensions(der cryptobyte.String, key *TPMT_PUBLIC) RC {
	var outer, list cryptobyte.String
	if !der.ReadASN1(&outer, extensionsTag) || !outer.ReadASN1(&list, asn1.SEQUENCE) || !outer.Empty() {
		return TPM_RC_VALUE
	}
	seen := map[string]bool{}
	for !list.Empty() {
		var ext, oid, value cryptobyte.String
		var critical bool
		if !list.ReadASN1(&ext, asn1.SEQUENCE) || !ext.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
			ext.PeekASN1Tag(asn1.BOOLEAN) && !ext.ReadASN1Boolean(&critical) ||
			!ext.ReadASN1(&value, asn1.OCTET_STRING) || !ext.Empty() || seen[string(oid)] {
			return TPM_RC_VALUE
		}
		seen[string(oid)] = true
		if rc := checkExtension(oid, value, key); rc != TPM_RC_SUCCESS {
			return rc
		}
	}
	if !seen[string(oidKeyUsage)] {
		return TPM_RC_VALUE
	}
	return TPM_RC_SUCCESS
}

func checkExtension(oid []byte, value cryptobyte.String, key *TPMT_PUBLIC) RC {
	usage := bytes.Equal(oid, oidKeyUsage)
	if !usage && !bytes.Equal(oid, oidTPMAObject) {
		return TPM_RC_SUCCESS // not our business
	}
	var s cryptobyte.String
	if !value.ReadASN1(&s, asn1.BIT_STRING) || !value.Empty() || len(s) < 2 || len(s) > 5 || s[0] > 7 {
		return TPM_RC_VALUE
	}
	unused, data := s[0], s[1:]
	if data[len(data)-1]&(1<<unused-1) != 0 {
		return TPM_RC_VALUE
	}
	var bits uint32 // bit 0 of the string is the top bit
	for i, b := range data {
		bits |= uint32(b) << (24 - 8*i)
	}
	if usage && !usageAllowed(key, bits) || !usage && (len(data) != 4 || bits != uint32(key.Attributes)) {
		return TPM_RC_ATTRIBUTES
	}
	return TPM_RC_SUCCESS
}
