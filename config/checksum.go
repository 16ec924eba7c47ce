package config

// Checksum is how the checksums of VRRPv3 adverts over IPv4 are made. Both forms are
// accepted whatever is sent; everything else has one form only.
type Checksum uint8

const (
	// ChecksumAuto sends RFC 9568's form until an advert of a peer in the other one
	// is accepted, and then whatever form the last one had.
	ChecksumAuto Checksum = iota
	// ChecksumRFC9568 is over the message alone.
	ChecksumRFC9568
	// ChecksumRFC5798 has a pseudo-header before it, as keepalived's and FRR's have
	// unless they are told otherwise.
	ChecksumRFC5798
)

var checksumWords = [...]string{"auto", "rfc9568", "rfc5798"}

func (c Checksum) String() string {
	if int(c) < len(checksumWords) {
		return checksumWords[c]
	}
	return "unknown"
}

func setChecksum(f *form, as, value string) error {
	for i, word := range checksumWords {
		if word == value {
			f.router.Checksum = Checksum(i)
			return nil
		}
	}
	return usagef("%s %s: the checksum is auto, rfc9568 or rfc5798", as, show(value))
}

// validateChecksum refuses a form where there is nothing to choose: who asks for it
// expects that it changes something.
func (r Router) validateChecksum() error {
	switch {
	case r.Checksum > ChecksumRFC5798:
		return usagef("checksum form %d: there is no such form", r.Checksum)
	case r.Checksum != ChecksumAuto && (r.Version != 3 || r.Family != 4):
		return usagef("--checksum %s: only VRRPv3 over IPv4 has two forms; leave it away, or give --vrrp-version 3", r.Checksum)
	}
	return nil
}
