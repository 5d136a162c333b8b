// Makes certificates as step-ca does, by its own library and templates, and such as Teleport issues, by the library that
// Teleport signs with. Arguments: the user's public key, and where the certificates go.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.step.sm/crypto/sshutil"
	"golang.org/x/crypto/ssh"
)

var (
	from   = uint64(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	until  = uint64(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	target string
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func write(name string, key ssh.PublicKey) {
	if err := os.WriteFile(filepath.Join(target, name), ssh.MarshalAuthorizedKey(key), 0o644); err != nil {
		panic(err)
	}
}

func authority(name string, key crypto.Signer) ssh.Signer {
	signer := must(ssh.NewSignerFromSigner(key))
	write(name+".pub", signer.PublicKey())
	return signer
}

// A certificate of step-ca's: the template that a provisioner has unless it is given another, or another.
func step(name string, ca ssh.Signer, user ssh.PublicKey, template string, data sshutil.TemplateData) {
	request := sshutil.CertificateRequest{Type: "user", KeyID: "alice", Principals: []string{"alice"}, Key: user}
	certificate := must(sshutil.NewCertificate(request, sshutil.WithTemplate(template, data))).GetCertificate()
	certificate.ValidAfter, certificate.ValidBefore = from, until
	write(name+"-cert.pub", must(sshutil.CreateCertificate(certificate, ca)))
}

// A certificate of Teleport's: gravitational/teleport, lib/sshca/identity.go (Identity.Encode), lib/auth/keygen/keygen.go
// and constants.go (CertExtension…), lib/services/authority.go (MarshalCertRoles).
func teleport(name string, ca ssh.Signer, user ssh.PublicKey, roles string, critical map[string]string) {
	certificate := &ssh.Certificate{
		Key:             user,
		CertType:        ssh.UserCert,
		KeyId:           "alice",
		ValidPrincipals: []string{"alice", "-teleport-internal-join"},
		ValidAfter:      from,
		ValidBefore:     until,
		Permissions: ssh.Permissions{
			CriticalOptions: critical,
			Extensions: map[string]string{
				"permit-agent-forwarding":   "",
				"permit-port-forwarding":    "",
				"permit-pty":                "",
				"login-ip":                  "198.51.111.1",
				"private-key-policy":        "none",
				"teleport-roles":            roles,
				"teleport-route-to-cluster": "root.example.com",
				"teleport-traits":           `{"logins":["alice"],"kubernetes_groups":null}`,
			},
		},
	}
	if err := certificate.SignCert(rand.Reader, ca); err != nil {
		panic(err)
	}
	write(name+"-cert.pub", certificate)
}

func main() {
	user, _, _, _, err := ssh.ParseAuthorizedKey(must(os.ReadFile(os.Args[1])))
	if err != nil {
		panic(err)
	}
	target = os.Args[2]
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))

	// step-ca init makes a P-256 key for users.
	ca := authority("step-ecdsa256", p256)
	plain := sshutil.CreateTemplateData(sshutil.UserCert, "alice", []string{"alice"})
	step("step-default", ca, user, sshutil.DefaultTemplate, plain)
	pinned := sshutil.CreateTemplateData(sshutil.UserCert, "alice", []string{"alice"})
	pinned.AddCriticalOption("source-address", "198.51.111.1/32")
	step("step-pinned", ca, user, sshutil.DefaultTemplate, pinned)
	// The example in the documentation of templates: a GitHub certificate.
	step("step-github", ca, user, `{"type": {{ toJson .Type }}, "keyId": {{ toJson .KeyID }},
		"principals": {{ toJson .Principals }}, "criticalOptions": {{ toJson .CriticalOptions }},
		"extensions": {"login@github.com": {{ toJson .KeyID }}, "permit-pty": ""}}`, plain)

	pin := map[string]string{"source-address": "198.51.111.1/32"}
	for kind, key := range map[string]crypto.Signer{
		"ed25519": ed, "rsa": must(rsa.GenerateKey(rand.Reader, 2048)),
	} {
		ca := authority("teleport-"+kind, key)
		if kind == "rsa" {
			ca = sha512{ca.(ssh.AlgorithmSigner)}
		}
		teleport("teleport-by-"+kind, ca, user, `{"version":"v1","roles":["pinned-ip","open"]}`, pin)
		if kind == "ed25519" {
			teleport("teleport-unpinned", ca, user, `{"version":"v1","roles":["pinned-ip"]}`, nil)
			teleport("teleport-no-roles", ca, user, `{"version":"v1","roles":[]}`, pin)
			teleport("teleport-bad-roles", ca, user, `["open"]`, pin)
		}
	}
}

// Signs by RSA with SHA-512, as Teleport's signers do.
type sha512 struct{ ssh.AlgorithmSigner }

func (signer sha512) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return signer.SignWithAlgorithm(random, data, ssh.KeyAlgoRSASHA512)
}
