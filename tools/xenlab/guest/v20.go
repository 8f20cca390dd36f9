package guest

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// The NV index that the lab defines, writes and finds again.
const (
	nvIndex = 0x01500001
	nvSize  = 64
)

var nvAuth = []byte("lab")

// Random returns n bytes of TPM2_GetRandom.
func (d *Device) Random(n uint16) ([]byte, error) {
	rsp, err := tpm2.GetRandom{BytesRequested: n}.Execute(d)
	if err != nil {
		return nil, err
	}
	return rsp.RandomBytes.Buffer, nil
}

// PCR returns one PCR of a bank.
func (d *Device) PCR(alg tpm2.TPMAlgID, pcr uint) ([]byte, error) {
	sel := tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{
		Hash: alg, PCRSelect: tpm2.PCClientCompatible.PCRs(pcr),
	}}}
	rsp, err := tpm2.PCRRead{PCRSelectionIn: sel}.Execute(d)
	if err != nil {
		return nil, err
	}
	if len(rsp.PCRValues.Digests) != 1 {
		return nil, fmt.Errorf("PCR_Read of one PCR of bank %#x gave %d digests", alg, len(rsp.PCRValues.Digests))
	}
	return rsp.PCRValues.Digests[0].Buffer, nil
}

// Property returns one fixed or variable property.
func (d *Device) Property(p tpm2.TPMPT) (uint32, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(p), PropertyCount: 1}.Execute(d)
	if err != nil {
		return 0, err
	}
	props, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return 0, err
	}
	if len(props.TPMProperty) != 1 || props.TPMProperty[0].Property != p {
		return 0, fmt.Errorf("GetCapability has no property %#x", uint32(p))
	}
	return props.TPMProperty[0].Value, nil
}

// EndorsementName makes the ECC P-256 endorsement key of the TCG's template and returns its name. The key is
// flushed again.
func (d *Device) EndorsementName() ([]byte, error) {
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHEndorsement,
		InPublic:      tpm2.New2B(tpm2.ECCEKTemplate),
	}.Execute(d)
	if err != nil {
		return nil, err
	}
	if _, err := (tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}).Execute(d); err != nil {
		return nil, fmt.Errorf("flushing the endorsement key: %w", err)
	}
	return rsp.Name.Buffer, nil
}

// DefineNV defines the lab's NV index.
func (d *Device) DefineNV() error {
	_, err := tpm2.NVDefineSpace{
		AuthHandle: tpm2.TPMRHOwner,
		Auth:       tpm2.TPM2BAuth{Buffer: nvAuth},
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex: nvIndex, NameAlg: tpm2.TPMAlgSHA256, DataSize: nvSize,
			Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthWrite: true, AuthRead: true,
				NT: tpm2.TPMNTOrdinary, NoDA: true},
		}),
	}.Execute(d)
	return err
}

// nvHandles returns the index as handle and, with a password session, as authorisation.
func (d *Device) nvHandles() (tpm2.NamedHandle, tpm2.AuthHandle, error) {
	pub, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(nvIndex)}.Execute(d)
	if err != nil {
		return tpm2.NamedHandle{}, tpm2.AuthHandle{}, err
	}
	return tpm2.NamedHandle{Handle: nvIndex, Name: pub.NVName},
		tpm2.AuthHandle{Handle: nvIndex, Name: pub.NVName, Auth: tpm2.PasswordAuth(nvAuth)}, nil
}

// WriteNV writes the lab's NV index.
func (d *Device) WriteNV(data []byte) error {
	index, auth, err := d.nvHandles()
	if err != nil {
		return err
	}
	_, err = tpm2.NVWrite{AuthHandle: auth, NVIndex: index, Data: tpm2.TPM2BMaxNVBuffer{Buffer: data}}.Execute(d)
	return err
}

// ReadNV reads the lab's NV index.
func (d *Device) ReadNV() ([]byte, error) {
	index, auth, err := d.nvHandles()
	if err != nil {
		return nil, err
	}
	rsp, err := tpm2.NVRead{AuthHandle: auth, NVIndex: index, Size: nvSize}.Execute(d)
	if err != nil {
		return nil, err
	}
	return rsp.Data.Buffer, nil
}
