// Package ptm is the wire format of swtpm's control channel: a 4-byte command
// number, a request body whose length follows from the command, and a response
// whose first word (but for GET_CAPABILITY) is a TPM result code. All integers
// are big-endian.
//
// Whoever can open the control socket controls the bytes; a malformed request
// ends that connection and nothing else.
package ptm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Command is a control command.
type Command uint32

// Control commands, named as in swtpm's public tpm_ioctl header.
const (
	GetCapability       Command = 1
	Init                Command = 2
	Shutdown            Command = 3
	GetTPMEstablished   Command = 4
	SetLocality         Command = 5
	HashStart           Command = 6
	HashData            Command = 7
	HashEnd             Command = 8
	CancelTPMCmd        Command = 9
	StoreVolatile       Command = 10
	ResetTPMEstablished Command = 11
	GetStateBlob        Command = 12
	SetStateBlob        Command = 13
	Stop                Command = 14
	GetConfig           Command = 15
	SetDataFD           Command = 16
	SetBufferSize       Command = 17
	GetInfo             Command = 18
	LockStorage         Command = 19
)

// names are those of the requests in the log.
var names = map[Command]string{
	GetCapability: "GET_CAPABILITY", Init: "INIT", Shutdown: "SHUTDOWN", GetTPMEstablished: "GET_TPMESTABLISHED",
	SetLocality: "SET_LOCALITY", HashStart: "HASH_START", HashData: "HASH_DATA", HashEnd: "HASH_END", CancelTPMCmd: "CANCEL_TPM_CMD",
	StoreVolatile: "STORE_VOLATILE", ResetTPMEstablished: "RESET_TPMESTABLISHED", GetStateBlob: "GET_STATEBLOB",
	SetStateBlob: "SET_STATEBLOB", Stop: "STOP", GetConfig: "GET_CONFIG", SetDataFD: "SET_DATAFD", SetBufferSize: "SET_BUFFERSIZE",
	GetInfo: "GET_INFO", LockStorage: "LOCK_STORAGE",
}

// Commands are all control commands, by number.
func Commands() []Command { return slices.Sorted(maps.Keys(names)) }

func (c Command) String() string {
	if s, ok := names[c]; ok {
		return s
	}
	return fmt.Sprintf("request %d", uint32(c))
}

// Capability bits of GetCapability, one for each command set.
const (
	CapInit                = 1 << 0
	CapShutdown            = 1 << 1
	CapGetTPMEstablished   = 1 << 2
	CapSetLocality         = 1 << 3
	CapHashing             = 1 << 4
	CapCancelTPMCmd        = 1 << 5
	CapStoreVolatile       = 1 << 6
	CapResetTPMEstablished = 1 << 7
	CapGetStateBlob        = 1 << 8
	CapSetStateBlob        = 1 << 9
	CapStop                = 1 << 10
	CapGetConfig           = 1 << 11
	CapSetDataFD           = 1 << 12
	CapSetBufferSize       = 1 << 13
	CapGetInfo             = 1 << 14
	CapSendCommandHeader   = 1 << 15
	CapLockStorage         = 1 << 16
)

// InitDeleteVolatile is the flag of Init that deletes saved volatile state after it was read.
const InitDeleteVolatile = 1

// Blob types of GetStateBlob and SetStateBlob.
const (
	BlobPermanent = 1
	BlobVolatile  = 2
	BlobSaveState = 3
)

// Flags of state blobs: Decrypted asks for plain text, Encrypted says that a
// blob is not.
const (
	StateDecrypted = 1
	StateEncrypted = 2
)

// Flags of GetConfig.
const (
	ConfigFileKey      = 1
	ConfigMigrationKey = 2
)

// Flags of GetInfo.
const (
	InfoTPMSpecification = 1
	InfoTPMAttributes    = 2
	InfoTPMFeatures      = 4
)

// Result codes of the channel (TPM 1.2 numbers, also for a TPM 2.0).
const (
	Success      = 0
	BadParameter = 3
	Fail         = 9
	BadOrdinal   = 10
	IOError      = 31
	BadLocality  = 61
)

// MaxBlob bounds a state blob that a client may send, in bytes.
const MaxBlob = 1 << 20

// MaxHashData bounds one HashData request, in bytes (as swtpm's header).
const MaxHashData = 4096

// ErrTooLong is returned for a length field above its limit.
var ErrTooLong = errors.New("length field is above the limit")

// bodyLen is the fixed part of each command's request body.
var bodyLen = map[Command]int{
	GetCapability: 0, Init: 4, Shutdown: 0, GetTPMEstablished: 0, SetLocality: 1,
	HashStart: 0, HashData: 4, HashEnd: 0, CancelTPMCmd: 0, StoreVolatile: 0,
	ResetTPMEstablished: 1, GetStateBlob: 12, SetStateBlob: 12, Stop: 0, GetConfig: 0,
	SetDataFD: 0, SetBufferSize: 4, GetInfo: 16, LockStorage: 4,
}

// localityPad is how many octets may follow the locality.
const localityPad = 3

// Request is one control command. Which fields mean something depends on the
// command.
type Request struct {
	Command  Command
	Flags    uint32 // Init, GetStateBlob, SetStateBlob
	Type     uint32 // GetStateBlob, SetStateBlob
	Offset   uint32 // GetStateBlob, GetInfo
	Locality uint8  // SetLocality, ResetTPMEstablished
	Size     uint32 // SetBufferSize
	Info     uint64 // GetInfo
	Retries  uint32 // LockStorage
	Data     []byte // HashData, SetStateBlob
	Known    bool   // false: a command number that is not ours
}

// ReadRequest reads one request. For an unknown command it returns Known
// false after the command word, since the length of its body cannot be known.
//
// The locality commands have a body of one octet that some clients (QEMU) pad
// to four with zeros and others (tpm2-tss) do not. There is no command 0, so a zero
// word is that padding and the first octet of what follows.
func ReadRequest(r *bufio.Reader) (Request, error) {
	word, err := readWord(r)
	if err != nil {
		return Request{}, err
	}
	q := Request{Command: Command(word)}
	n, ok := bodyLen[q.Command]
	if !ok {
		return q, nil
	}
	q.Known = true
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return q, fmt.Errorf("control command %d: %w", q.Command, noEOF(err))
	}
	return q, q.parse(body, r)
}

// readWord reads a command word, past padding.
func readWord(r *bufio.Reader) (uint32, error) {
	var word [localityPad + 4]byte
	n, err := io.ReadFull(r, word[:4])
	if n == localityPad && errors.Is(err, io.ErrUnexpectedEOF) && [localityPad]byte(word[:]) == [localityPad]byte{} {
		return 0, io.EOF
	}
	if err != nil {
		return 0, err
	}
	if v := binary.BigEndian.Uint32(word[:]); v != 0 {
		return v, nil
	}
	n, err = io.ReadFull(r, word[4:])
	if err != nil {
		return 0, fmt.Errorf("%d octets after padding: %w", n+1, noEOF(err))
	}
	return binary.BigEndian.Uint32(word[localityPad:]), nil
}

func (q *Request) parse(body []byte, r io.Reader) error {
	u32 := func(i int) uint32 { return binary.BigEndian.Uint32(body[i:]) }
	var err error
	switch q.Command {
	case Init:
		q.Flags = u32(0)
	case SetLocality, ResetTPMEstablished:
		q.Locality = body[0]
	case HashData:
		q.Data, err = readData(r, u32(0), MaxHashData)
	case GetStateBlob:
		q.Flags, q.Type, q.Offset = u32(0), u32(4), u32(8)
	case SetStateBlob:
		q.Flags, q.Type = u32(0), u32(4)
		q.Data, err = readData(r, u32(8), MaxBlob)
	case SetBufferSize:
		q.Size = u32(0)
	case GetInfo:
		q.Info, q.Offset = binary.BigEndian.Uint64(body), u32(8)
	case LockStorage:
		q.Retries = u32(0)
	}
	if err != nil {
		return fmt.Errorf("control command %d: %w", q.Command, err)
	}
	return nil
}

func readData(r io.Reader, n, limit uint32) ([]byte, error) {
	if n > limit {
		return nil, fmt.Errorf("%w: %d of at most %d bytes", ErrTooLong, n, limit)
	}
	data := make([]byte, n)
	_, err := io.ReadFull(r, data)
	return data, noEOF(err)
}

// noEOF makes an end of file inside a request an unexpected one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Result is a response of one result code.
func Result(code uint32) []byte { return binary.BigEndian.AppendUint32(nil, code) }

// Capabilities is the response to GetCapability, which alone has no code.
func Capabilities(bits uint64) []byte { return binary.BigEndian.AppendUint64(nil, bits) }

// Established is the response to GetTPMEstablished.
func Established(bit bool) []byte {
	r := make([]byte, 8)
	if bit {
		r[4] = 1
	}
	return r
}

// Words is a response of a code and further words (GetConfig, SetBufferSize).
func Words(code uint32, words ...uint32) []byte {
	r := Result(code)
	for _, w := range words {
		r = binary.BigEndian.AppendUint32(r, w)
	}
	return r
}

// StateBlob is the response to GetStateBlob: the part of blob from offset on.
func StateBlob(flags uint32, blob []byte, offset uint32) []byte {
	part := tail(blob, offset)
	return append(Words(Success, flags, uint32(len(blob)), uint32(len(part))), part...)
}

// Info is the response to GetInfo: the part of text from offset on, with the
// terminating NUL that clients expect inside the counted length. An offset behind the end is a
// bad parameter.
func Info(text string, offset uint32) []byte {
	all := append([]byte(text), 0)
	if uint64(offset) >= uint64(len(all)) {
		return Result(BadParameter)
	}
	part := tail(all, offset)
	return append(Words(Success, uint32(len(all)), uint32(len(part))), part...)
}

func tail(b []byte, offset uint32) []byte {
	if uint64(offset) >= uint64(len(b)) {
		return nil
	}
	return b[offset:]
}
