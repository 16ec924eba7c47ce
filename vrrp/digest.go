package vrrp

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
)

// digest is HMAC with one key. The standard library keeps the hashed key after the
// first use, so that each packet costs its own blocks only, and Reset allocates
// nothing. What is written must lie in memory that lives on anyway: arguments of an
// interface's methods escape.
type digest struct {
	mac hash.Hash
	sum *[sha256.Size]byte
}

func newMD5(key []byte) digest { return warm(digest{hmac.New(md5.New, key), new([sha256.Size]byte)}) }
func newSHA256(key []byte) digest {
	return warm(digest{hmac.New(sha256.New, key), new([sha256.Size]byte)})
}

// warm has the library prepare its inner and outer state now.
func warm(d digest) digest {
	d.begin()
	d.end(1)
	d.begin()
	return d
}

func (d digest) begin() { d.mac.Reset() }

// add takes more of the message; a hash never returns an error.
func (d digest) add(b []byte) { _, _ = d.mac.Write(b) }

// end returns the first n bytes of the digest, valid until the next end.
func (d digest) end(n int) []byte { return d.mac.Sum(d.sum[:0])[:n] }

// same compares in a time that does not depend on where two values differ.
func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
