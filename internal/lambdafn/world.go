package lambdafn

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/smithy-go/logging"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/lambdafn/remote"
	"lifeboat/internal/manifest"
	"lifeboat/internal/replay"
	"lifeboat/internal/secret"
	"lifeboat/internal/secret/awskms"
	"lifeboat/internal/secret/awssecret"
	"lifeboat/internal/step"
	"lifeboat/internal/vault"
)

// World is what the steps of a function work with.
type World struct {
	environment deployed.Environment
	err         error // what is wrong with the environment: every message gets it as its answer
	metrics     *Metrics

	mutex sync.Mutex
	warm  *warm
}

// keep is how long a World, and each secret in it, is used before it is made again.
const keep = 15 * time.Minute

// NewWorld reads the environment of a function. It asks nobody yet: what goes wrong then must be an answer.
func NewWorld(function string) *World {
	e, err := deployed.Read(function, os.Getenv)
	return &World{environment: e, err: err, metrics: NewMetrics(os.Stdout, e.Stack)}
}

// warm is what one message leaves for the next ones.
type warm struct {
	made        time.Time
	environment deployed.Environment
	aws         aws.Config
	config      *config.Config
	vault       *vault.Vault
	mac         manifest.Authenticator // nil where the function has no key for MACs
	backup      once[*step.Steps]
	restore     once[*replay.Steps]
	api         once[http.Handler]
}

// once keeps what was made; an error is not kept.
type once[T any] struct {
	mutex sync.Mutex
	made  bool
	value T
}

func (o *once[T]) get(build func() (T, error)) (T, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.made {
		return o.value, nil
	}
	value, err := build()
	if err == nil {
		o.value, o.made = value, true
	}
	return value, err
}

// open returns the world, made at the first message and every quarter of an hour.
func (w *World) open(ctx context.Context) (*warm, error) {
	if w.err != nil {
		return nil, w.err
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.warm != nil && time.Since(w.warm.made) < keep {
		return w.warm, nil
	}
	made, err := build(ctx, w.environment)
	if err != nil {
		return nil, err
	}
	w.warm = made
	return made, nil
}

func build(ctx context.Context, e deployed.Environment) (*warm, error) {
	account, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, failure.New(failure.Internal, "set up the AWS SDK: %w", err)
	}
	secret.Install(awssecret.New(account), keep)
	client, err := vault.Connect(ctx, vault.Store{})
	if err != nil {
		return nil, err
	}
	c, err := remote.Configuration(ctx, client, remote.Stack{Config: e.Config, VaultBucket: e.VaultBucket, Account: e.VaultOwner, PublicURL: e.PublicURL})
	if err != nil {
		return nil, err
	}
	ownBuckets(c, e.VaultOwner)
	w := &warm{made: time.Now(), environment: e, aws: account, config: c, vault: remote.Vault(client, e.VaultBucket, e.VaultOwner)}
	if e.MACKey != "" {
		w.mac = awskms.New(account, e.MACKey)
	}
	return w, nil
}

// machines returns the state machines of the stack.
func (w *warm) machines() *remote.Machines {
	return &remote.Machines{Client: sfn.NewFromConfig(w.aws), Backup: w.environment.BackupMachine, Restore: w.environment.RestoreMachine}
}

// key returns the signing key of the stack.
func (w *warm) key() (keyring.Key, error) {
	text, err := w.environment.SigningKey.Resolve()
	if err != nil {
		return keyring.Key{}, err
	}
	return deployed.SigningKey(text)
}

// linkKey returns the key that links derive from: one of its own, or else the signing key's.
func (w *warm) linkKey() (secret.String, error) {
	if w.environment.LinkKey != "" {
		return w.environment.LinkKey.Resolve()
	}
	if w.environment.SigningKey == "" {
		return secret.String{}, nil
	}
	key, err := w.key()
	if err != nil {
		return secret.String{}, err
	}
	return key.Links(), nil
}

// known makes sure that the vault is there, and that the key is its own.
func (w *warm) known(ctx context.Context, key keyring.Key) error {
	about, err := w.vault.Describe(ctx)
	if err != nil && failure.KindOf(err) == failure.NotFound {
		if w.environment.Function != "export" {
			return failure.New(failure.NotFound, "there is no vault in %s yet", w.vault.Bucket()).WithHint("the first backup of the stack makes it")
		}
		about, err = w.create(ctx, key)
	}
	if err != nil {
		return err
	}
	if key.Private != nil && !key.Public().Equal(ed25519.PublicKey(about.PublicKey)) {
		return failure.New(failure.Denied, "the vault names another signing key than the stack's secret holds").
			WithHint("somebody has replaced vault.json or the secret of the signing key; bring back the older version of the one that was changed")
	}
	return nil
}

// create makes a vault of an empty bucket. One that holds backups but has lost its vault.json is left as it is.
func (w *warm) create(ctx context.Context, key keyring.Key) (vault.Description, error) {
	for _, prefix := range []vault.Key{vault.Records(""), "archives/", "packs/", "snapshots/"} {
		for info, err := range w.vault.List(ctx, prefix) {
			if err != nil {
				return vault.Description{}, err
			}
			return vault.Description{}, failure.New(failure.Corrupt, "the vault holds backups (%s) but no %s", info.Key, vault.Marker).
				WithHint("bring back the older version of vault.json: the bucket keeps versions")
		}
	}
	about := vault.Description{ID: key.Vault, Created: time.Now().UTC(), Lifeboat: deployed.Version, PublicKey: key.Public()}
	if err := w.vault.Initialise(ctx, about); err != nil && failure.KindOf(err) != failure.Conflict {
		return about, err
	}
	slog.Info("a new vault was made", "vault", w.vault.Bucket())
	return w.vault.Describe(ctx) // somebody else's, where two were at it at the same time
}

// holder names the stack to whoever finds a lease: a step that is tried again, in another process, goes on with it.
func (w *warm) holder() string { return "stack " + w.environment.Stack }

func (w *warm) place() deployed.Place {
	return deployed.Place{VaultBucket: w.environment.VaultBucket, Loopback: w.environment.Loopback}
}

// first returns the first of what was refused, with how many there are.
func first(refused []error) error {
	switch len(refused) {
	case 0:
		return nil
	case 1:
		return refused[0]
	}
	return failure.New(failure.Usage, "%w", errors.Join(refused...)).WithHint("%s", failure.HintOf(refused[0]))
}

// mailFrom is the sender's address.
func (w *warm) mailFrom() string {
	from := ""
	if w.config.Mail != nil {
		from = w.config.Mail.From
	}
	return cmp.Or(w.environment.MailFrom, from)
}
