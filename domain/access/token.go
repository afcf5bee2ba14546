package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// tokenPrefix lets tools that search for leaked secrets recognise a token.
const tokenPrefix = "outboxd_"

// digestPrefix names the hash function, so that a later version can use another
// one.
const digestPrefix = "sha256:"

// Digest is the SHA-256 of a token. A password needs a slow hash with salt, because
// it can be guessed. A token of NewToken cannot be guessed, because it has 260
// random bits.
type Digest [sha256.Size]byte

// NewToken returns a new token.
func NewToken() string {
	return tokenPrefix + rand.Text() + rand.Text() // 130 bits each
}

// DigestOf returns the digest of a token.
func DigestOf(token string) Digest { return sha256.Sum256([]byte(token)) }

// String returns the digest as the configuration has it.
func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// Token is a token of the configuration: whose it is, and its digest.
type Token struct {
	Identity
	Digest Digest
}

// Entry returns the token's line in the configuration: NAME=ROLE:DIGEST.
func (t Token) Entry() string {
	return strings.Join([]string{t.Name + "=" + t.Role.String(), t.Digest.String()}, ":")
}

// Find returns whose token was offered. The search takes the same time whichever
// token matches, and also if none does.
func Find(tokens []Token, offered string) (Identity, bool) {
	digest := DigestOf(offered)
	var found Identity
	var known bool
	for i := range tokens {
		if subtle.ConstantTimeCompare(digest[:], tokens[i].Digest[:]) == 1 {
			found, known = tokens[i].Identity, true
		}
	}
	return found, known
}
