package manifest

import (
	"crypto"
	_ "crypto/sha1" // TPM 1.2 and the SHA-1 bank measure with it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/hex"
)

// banks are the digests of a TPM's event log that Go can make, by the names
// that the TCG's log parsers print.
var banks = []struct {
	Name string
	Hash crypto.Hash
}{{"sha1", crypto.SHA1}, {"sha256", crypto.SHA256}, {"sha384", crypto.SHA384}, {"sha512", crypto.SHA512}}

// A Measurement is what a measured launch of a file leaves in one PCR bank.
type Measurement struct {
	Bank string `json:"bank"`
	// Digest is the event: the hash of the file as it is loaded.
	Digest string `json:"digest"`
	// PCR is a register's value after that event alone, from zero:
	// H(0...0 || Digest).
	PCR string `json:"pcr"`
}

// Measure returns the measurements of a file's contents in all banks.
func Measure(b []byte) []Measurement {
	var all []Measurement
	for _, bank := range banks {
		h := bank.Hash.New()
		h.Write(b)
		digest := h.Sum(nil)
		h = bank.Hash.New()
		h.Write(make([]byte, bank.Hash.Size()))
		h.Write(digest)
		all = append(all, Measurement{bank.Name, hex.EncodeToString(digest), hex.EncodeToString(h.Sum(nil))})
	}
	return all
}
