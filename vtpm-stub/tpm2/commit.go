package tpm2

import (
	"errors"

	"xenvtpm/vtpm-stub/tpmcrypto"
)

// Split operations (TPM20-P1 section C.2): TPM2_Commit and TPM2_EC_Ephemeral hand
// out points of an ephemeral key r that a later command uses once. r is derived
// from a counter, so that only a bit is kept for each one that is pending.

// commitHash is vendorAlg of equation 62.
const commitHash = TPM_ALG_SHA512

// maxCommits is the number of values that can be pending, a power of 2
// (TPM_PT_SPLIT_MAX).
const maxCommits = 8 * len(stateReset{}.commitArray)

// nextCommit returns the value that the next commit uses, reduced modulo the order
// of the group. The caller ends with commitMade once nothing can fail any more.
func (t *TPM) nextCommit(g *tpmcrypto.Group, name []byte) ([]byte, RC) {
	return t.deriveCommit(g, name, t.sr.commitCounter)
}

func (t *TPM) deriveCommit(g *tpmcrypto.Group, name []byte, count uint64) ([]byte, RC) {
	r, err := g.CommitScalar(commitHash, t.sr.commitNonce[:], name, count)
	if err != nil {
		return nil, TPM_RC_NO_RESULT
	}
	return r, TPM_RC_SUCCESS
}

// commitMade records the value of nextCommit as pending and returns its
// counter for the caller.
func (t *TPM) commitMade() uint16 {
	n := t.sr.commitCounter
	t.sr.commitArray[n%uint64(maxCommits)/8] |= 1 << (n % 8)
	t.sr.commitCounter++
	t.clearOrderly()
	return uint16(n)
}

// commitValue recovers a pending value (TPM20-P1 section C.2.5). Errors, without
// a number: TPM_RC_RANGE for a counter that is too old or was not given out yet,
// TPM_RC_VALUE for one that was used.
func (t *TPM) commitValue(g *tpmcrypto.Group, name []byte, counter uint16) ([]byte, RC) {
	now := t.sr.commitCounter
	age := uint64(uint16(now) - counter)
	if age == 0 || age >= uint64(maxCommits) || age > now {
		return nil, TPM_RC_RANGE
	}
	if t.sr.commitArray[int(counter)%maxCommits/8]&(1<<(counter%8)) == 0 {
		return nil, TPM_RC_VALUE
	}
	return t.deriveCommit(g, name, now-age)
}

// commitUsed ends a pending value: it must not be used twice.
func (t *TPM) commitUsed(counter uint16) {
	t.sr.commitArray[int(counter)%maxCommits/8] &^= 1 << (counter % 8)
	t.clearOrderly()
}

// pointRC is the code for a failed group operation: ErrInfinity is
// TPM_RC_NO_RESULT, anything else a point that is not on the curve.
func pointRC(err error) RC {
	switch {
	case err == nil:
		return TPM_RC_SUCCESS
	case errors.Is(err, tpmcrypto.ErrInfinity):
		return TPM_RC_NO_RESULT
	}
	return TPM_RC_ECC_POINT
}

// onCurve checks a point that a caller gave. Errors, without a number: TPM_RC_ECC_POINT.
func onCurve(g *tpmcrypto.Group, p TPMS_ECC_POINT) (tpmcrypto.Point, RC) {
	q, err := g.Point(p.X, p.Y)
	return q, pointRC(err)
}

// point writes a point of tpmcrypto; infinity is the Empty Point.
func (w *writer) point(p tpmcrypto.Point) { w.eccPoint2B(&TPMS_ECC_POINT{X: p.X, Y: p.Y}) }
