package tpm2

// TPMS_PCR_SELECTION selects PCR of one bank (TPM20-P2 section 10.6.2).
type TPMS_PCR_SELECTION struct {
	Hash AlgID
	Size uint8 // octets of Bits, as given by the caller
	Bits [pcrSelectBytes]byte
}

func (s *TPMS_PCR_SELECTION) has(pcr int) bool { return s.Bits[pcr/8]&(1<<(pcr%8)) != 0 }
func (s *TPMS_PCR_SELECTION) set(pcr int)      { s.Bits[pcr/8] |= 1 << (pcr % 8) }
func (s *TPMS_PCR_SELECTION) clear(pcr int)    { s.Bits[pcr/8] &^= 1 << (pcr % 8) }

// TPML_PCR_SELECTION is a list of selections without allocation.
type TPML_PCR_SELECTION struct {
	Count int
	Sel   [numHashes]TPMS_PCR_SELECTION
}

// all returns the selections in use.
func (l *TPML_PCR_SELECTION) all() []TPMS_PCR_SELECTION { return l.Sel[:l.Count] }

// pcrSelection reads a TPML_PCR_SELECTION into l.
func (r *reader) pcrSelection(l *TPML_PCR_SELECTION) {
	n := r.u32()
	if n > numHashes {
		r.fail(TPM_RC_SIZE)
	}
	l.Count = 0
	for i := 0; i < int(n) && r.rc == TPM_RC_SUCCESS; i++ {
		s := &l.Sel[i]
		*s = TPMS_PCR_SELECTION{Hash: r.hash(false), Size: r.u8()}
		if r.rc == TPM_RC_SUCCESS && s.Size != pcrSelectBytes {
			r.fail(TPM_RC_VALUE) // PCR_SELECT_MIN and PCR_SELECT_MAX are both 3
		}
		copy(s.Bits[:], r.bytes(pcrSelectBytes))
		l.Count++
	}
}

func (w *writer) pcrSelection(l *TPML_PCR_SELECTION) {
	w.u32(uint32(l.Count))
	for i := range l.all() {
		s := &l.Sel[i]
		w.alg(s.Hash)
		w.u8(pcrSelectBytes)
		w.raw(s.Bits[:])
	}
}

// TPMT_HA is a digest with its algorithm. Digest aliases the command.
type TPMT_HA struct {
	Hash   AlgID
	Digest []byte
}

// TPML_DIGEST_VALUES is a list of digests without allocation.
type TPML_DIGEST_VALUES struct {
	Count   int
	Digests [numHashes]TPMT_HA
}

func (r *reader) digestValues(l *TPML_DIGEST_VALUES) {
	n := r.u32()
	if n > numHashes {
		r.fail(TPM_RC_SIZE)
	}
	l.Count = 0
	for i := 0; i < int(n) && r.rc == TPM_RC_SUCCESS; i++ {
		a := r.hash(false)
		l.Digests[i] = TPMT_HA{a, r.bytes(a.DigestSize())}
		l.Count++
	}
}

// digestList reads a TPML_DIGEST of min to max (at most 8) digests.
func (r *reader) digestList(min int) [][]byte {
	n := r.u32()
	if n > 8 || int(n) < min {
		r.fail(TPM_RC_SIZE)
		return nil
	}
	l := make([][]byte, 0, 8)
	for i := 0; i < int(n) && r.rc == TPM_RC_SUCCESS; i++ {
		l = append(l, r.digest())
	}
	return l
}

// ccList reads a TPML_CC. Unknown codes are the handler's business.
func (r *reader) ccList() []CC {
	n := r.u32()
	if n > (maxCapBuffer-8)/4 {
		r.fail(TPM_RC_SIZE)
		return nil
	}
	l := make([]CC, 0, n)
	for i := 0; i < int(n) && r.rc == TPM_RC_SUCCESS; i++ {
		l = append(l, CC(r.u32()))
	}
	return l
}

// algList reads a TPML_ALG.
func (r *reader) algList() []AlgID {
	n := r.u32()
	if n > 128 {
		r.fail(TPM_RC_SIZE)
		return nil
	}
	l := make([]AlgID, 0, n)
	for i := 0; i < int(n) && r.rc == TPM_RC_SUCCESS; i++ {
		l = append(l, r.alg())
	}
	return l
}

// TPMT_TK is any ticket (TPM20-P2 section 10.7): creation, verified, auth,
// hashcheck.
type TPMT_TK struct {
	Tag       ST
	Hierarchy Handle
	Digest    []byte
}

// ticket reads a ticket whose tag must be one of tags (TPM_RC_TAG).
func (r *reader) ticket(tags ...ST) TPMT_TK {
	t := TPMT_TK{Tag: ST(r.u16())}
	ok := false
	for _, g := range tags {
		ok = ok || g == t.Tag
	}
	if !ok {
		r.fail(TPM_RC_TAG)
	}
	t.Hierarchy = r.hierarchy(true)
	t.Digest = r.digest()
	return t
}

func (w *writer) ticket(t *TPMT_TK) {
	w.u16(uint16(t.Tag))
	w.handle(t.Hierarchy)
	w.b2(t.Digest)
}

// TPMS_ECC_POINT in affine coordinates.
type TPMS_ECC_POINT struct{ X, Y []byte }

// eccPoint2B reads a TPM2B_ECC_POINT.
func (r *reader) eccPoint2B() TPMS_ECC_POINT {
	s := r.sub()
	p := TPMS_ECC_POINT{s.b2(maxECCBytes), s.b2(maxECCBytes)}
	r.endSub(&s)
	return p
}

func (w *writer) eccPoint2B(p *TPMS_ECC_POINT) {
	m := w.begin2B()
	w.b2(p.X)
	w.b2(p.Y)
	w.end2B(m)
}

// TPMS_CREATION_DATA (TPM20-P2 section 15.1).
type TPMS_CREATION_DATA struct {
	PCRSelect           TPML_PCR_SELECTION
	PCRDigest           []byte
	Locality            uint8 // TPMA_LOCALITY
	ParentNameAlg       AlgID
	ParentName          []byte
	ParentQualifiedName []byte
	OutsideInfo         []byte
}

func (w *writer) creationData(d *TPMS_CREATION_DATA) {
	w.pcrSelection(&d.PCRSelect)
	w.b2(d.PCRDigest)
	w.u8(d.Locality)
	w.alg(d.ParentNameAlg)
	w.b2(d.ParentName)
	w.b2(d.ParentQualifiedName)
	w.b2(d.OutsideInfo)
}

// TPMS_CLOCK_INFO (TPM20-P2 section 10.11.1).
type TPMS_CLOCK_INFO struct {
	Clock        uint64 // milliseconds
	ResetCount   uint32
	RestartCount uint32
	Safe         bool
}

func (w *writer) clockInfo(c *TPMS_CLOCK_INFO) {
	w.u64(c.Clock)
	w.u32(c.ResetCount)
	w.u32(c.RestartCount)
	w.yesNo(c.Safe)
}

// TPMS_CONTEXT (TPM20-P2 section 14.5).
type TPMS_CONTEXT struct {
	Sequence  uint64
	Saved     Handle
	Hierarchy Handle
	Blob      []byte
}

func (r *reader) context() TPMS_CONTEXT {
	c := TPMS_CONTEXT{Sequence: r.u64(), Saved: r.handle()}
	c.Hierarchy = r.hierarchy(true)
	c.Blob = r.b2(maxContextSize)
	return c
}

func (w *writer) context(c *TPMS_CONTEXT) {
	w.u64(c.Sequence)
	w.handle(c.Saved)
	w.handle(c.Hierarchy)
	w.b2(c.Blob)
}

// attestHeader is the common part of TPMS_ATTEST (TPM20-P2 section 10.12.12);
// the attested union follows.
type attestHeader struct {
	Type            ST
	QualifiedSigner []byte
	ExtraData       []byte
	Clock           TPMS_CLOCK_INFO
	FirmwareVersion uint64
}

// TPM_GENERATED_VALUE starts every attestation structure.
const TPM_GENERATED_VALUE = 0xFF544347

func (w *writer) attestHeader(a *attestHeader) {
	w.u32(TPM_GENERATED_VALUE)
	w.u16(uint16(a.Type))
	w.b2(a.QualifiedSigner)
	w.b2(a.ExtraData)
	w.clockInfo(&a.Clock)
	w.u64(a.FirmwareVersion)
}

func (w *writer) digestValues(l *TPML_DIGEST_VALUES) {
	w.u32(uint32(l.Count))
	for i := range l.Digests[:l.Count] {
		w.alg(l.Digests[i].Hash)
		w.raw(l.Digests[i].Digest)
	}
}
