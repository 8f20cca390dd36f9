package tpm2

import "xenvtpm/vtpm-stub/tpmcrypto"

// creation is what Create and CreatePrimary return beside the object
// (TPM20-P1 section 27.9).
type creation struct {
	data   []byte // TPMS_CREATION_DATA
	hash   []byte
	ticket TPMT_TK
}

// creationInfo makes creation data, hash and ticket for a new object. parent is
// nil for a primary object. It must run after o.name and o.hierarchy are set.
func (t *TPM) creationInfo(o, parent *object, outsideInfo []byte, pcrs *TPML_PCR_SELECTION, locality uint8) creation {
	d := TPMS_CREATION_DATA{OutsideInfo: outsideInfo, ParentNameAlg: TPM_ALG_NULL}
	d.PCRDigest = t.pcrDigest(o.pub.NameAlg, pcrs)
	d.PCRSelect = *pcrs
	d.Locality = localityAttr(locality)
	if parent != nil {
		d.ParentNameAlg = parent.pub.NameAlg
		d.ParentName, d.ParentQualifiedName = parent.name, parent.qname
	} else {
		d.ParentName = handleName(o.hierarchy)
		d.ParentQualifiedName = d.ParentName
	}
	c := creation{data: marshal(1024, func(w *writer) { w.creationData(&d) })}
	c.hash = t.hash.Sum(o.pub.NameAlg, nil, c.data)
	c.ticket = t.makeTicket(TPM_ST_CREATION, o.hierarchy, o.name, c.hash)
	return c
}

// localityAttr returns a locality as TPMA_LOCALITY.
func localityAttr(loc uint8) uint8 {
	if loc < 5 {
		return 1 << loc
	}
	return loc
}

// ticketHash is contextIntegrityHash: the hash of tickets and saved contexts. It
// must be the strongest hash there is (TPM20-P1 section 30.3).
const ticketHash = TPM_ALG_SHA512

// makeTicket returns HMAC(proof, tag || parts...) (TPM20-P2 section 10.7).
// In the null hierarchy it is a NULL ticket except for TPM_ST_CREATION.
func (t *TPM) makeTicket(tag ST, h Handle, parts ...[]byte) TPMT_TK {
	return TPMT_TK{Tag: tag, Hierarchy: h, Digest: t.ticketDigest(tag, h, parts...)}
}

// checkTicket reports whether a ticket is the one that makeTicket gives.
func (t *TPM) checkTicket(k *TPMT_TK, parts ...[]byte) bool {
	return tpmcrypto.Equal(k.Digest, t.ticketDigest(k.Tag, k.Hierarchy, parts...))
}

func (t *TPM) ticketDigest(tag ST, h Handle, parts ...[]byte) []byte {
	all := append([][]byte{{byte(tag >> 8), byte(tag)}}, parts...)
	return t.hier(h).proofMAC().Sum(nil, all...)
}
