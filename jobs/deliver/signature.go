package deliver

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"outboxd/domain/smallfile"
)

// errSecret is the error if a delivery could not be signed.
var errSecret = errors.New("the delivery cannot be signed")

// maxSecret is the largest size of a file with a signing secret, in bytes.
const maxSecret = 4 << 10

// readSecret returns the signing secret to which a reference refers. Its errors never quote a
// secret.
func readSecret(reference string) (string, error) {
	kind, place, _ := strings.Cut(reference, ":")
	var secret string
	switch {
	case kind == "env" && place != "":
		if secret = os.Getenv(place); secret == "" {
			return "", fmt.Errorf("the secret %s is not set in this process's environment", reference)
		}
	case kind == "file" && place != "":
		content, err := smallfile.Read(place, maxSecret)
		if err != nil {
			return "", fmt.Errorf("the secret cannot be read: %w", err)
		}
		secret = strings.TrimSpace(string(content))
	default:
		return "", errors.New("a secret is neither env:NAME nor file:PATH") // not quoted, because it may be the secret itself
	}
	return secret, nil
}

// sign returns the value of the header webhook-signature: one signature for each secret,
// separated by spaces. sign also returns the secrets, so that the caller can remove them
// from errors.
func sign(references []string, id string, at time.Time, body []byte) (signature string, secrets []string, err error) {
	signatures := make([]string, 0, len(references))
	for _, reference := range references {
		secret, err := readSecret(reference)
		if err != nil {
			return "", nil, err
		}
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil || strings.TrimPrefix(secret, "whsec_") == "" {
			return "", nil, fmt.Errorf("the secret %s is not base64, with or without the prefix whsec_", reference)
		}
		one, err := signer.Sign(id, at, body)
		if err != nil {
			return "", nil, fmt.Errorf("sign with the secret %s: %w", reference, err)
		}
		signatures, secrets = append(signatures, one), append(secrets, secret)
	}
	return strings.Join(signatures, " "), secrets, nil
}
