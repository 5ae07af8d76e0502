package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/local"
	"lifeboat/internal/secret"
	"lifeboat/internal/setup"
	"lifeboat/internal/vault"
)

// session is an open vault and what belongs to it.
type session struct {
	config  *config.Config
	vault   *vault.Vault
	catalog *catalog.Catalog
	about   vault.Description
	key     *keyring.Key  // nil: this machine cannot sign for the vault
	server  *local.Server // nil: the vault is remote
	stack   *stack        // nil: runs are this machine's
	log     *slog.Logger
	there   bool   // the vault must exist
	made    bool   // the vault was made just now
	learn   bool   // the vault was made just now, on a store that is not AWS
	anew    bool   // the vault was made just now, though this machine has the keys of others
	folder  string // that goes with the session; "" for a vault that stays
}

// localBucket is the bucket of a vault that is a folder.
const localBucket = "vault"

// load reads the configuration and shows its warnings.
func (c *cli) load() (*config.Config, error) {
	cfg, err := config.Load(c.configFile)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		c.warn("%s:%d: %s", cfg.File, w.Line, w.Message)
	}
	return cfg, nil
}

// open opens the vault of the configuration. One that does not exist yet is NotFound: only what writes backups makes one.
func (c *cli) open(ctx context.Context) (*session, error) {
	if c.stack != "" {
		return c.openStack(ctx)
	}
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	s := &session{config: cfg, log: c.log, there: true}
	if !cfg.Vault.Remote() && !local.Exists(cfg.Vault.Folder) {
		return nil, s.noVault()
	}
	return c.enter(ctx, s)
}

// openWith opens the vault. One that does not exist yet is created, with its signing key.
func (c *cli) openWith(ctx context.Context, cfg *config.Config) (*session, error) {
	return c.enter(ctx, &session{config: cfg, log: c.log})
}

func (s *session) noVault() error {
	return failure.New(failure.NotFound, "there is no vault at %s yet", s.config.Vault).
		WithHint("is vault: right in %s, and is its disk mounted? The first `lifeboat backup SOURCE` makes a vault, and so does `lifeboat doctor`", s.config.File)
}

func (c *cli) enter(ctx context.Context, s *session) (*session, error) {
	if err := s.connect(ctx, c); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := s.identify(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.catalog = catalog.New(s.vault)
	if s.anew {
		c.warn("a new vault was made at %s, with a new key, though this machine has made another one before: is the right disk mounted?", s.config.Vault)
	}
	return s, nil
}

func (s *session) close() error {
	var err error
	if s.server != nil {
		err = s.server.Close()
	}
	if s.folder != "" {
		err = errors.Join(err, os.RemoveAll(s.folder))
	}
	return err
}

// connect reaches the vault's store: the embedded server of a folder, or a bucket.
func (s *session) connect(ctx context.Context, c *cli) error {
	location := s.config.Vault
	if location.Bucket != nil {
		store, err := setup.Store(*location.Bucket)
		if err != nil {
			return err
		}
		client, err := vault.Connect(ctx, store)
		if err != nil {
			return err
		}
		if err := setup.Credentialed(ctx, client, "set access-key: and secret-key:, or profile:, of vault: in "+s.config.File); err != nil {
			return err
		}
		s.vault = vault.New(client, location.Bucket.Name, nil)
		return nil
	}
	server, err := local.Attach(ctx, location.Folder, c.log)
	if err != nil {
		return fmt.Errorf("open the vault %s: %w", location.Folder, err)
	}
	s.server = server
	access, secretKey := server.Credentials()
	client, err := vault.Connect(ctx, vault.Store{
		Endpoint: server.URL(), Region: server.Region(), HTTP: server.HTTPClient(), AccessKey: secret.New(access), SecretKey: secretKey,
	})
	if err != nil {
		return err
	}
	s.vault = vault.New(client, localBucket, server.Sync)
	return s.vault.CreateBucket(ctx)
}

// identify reads what vault it is and finds its signing key; a new vault gets both.
func (s *session) identify(ctx context.Context) error {
	about, err := s.vault.Describe(ctx)
	if failure.KindOf(err) == failure.NotFound && err != nil {
		about, err = s.create(ctx)
	}
	if failure.KindOf(err) == failure.Corrupt && err != nil {
		return failure.New(failure.Corrupt, "%w", err).
			WithHint("bring back vault.json from a copy of the vault; the backups in it do not need it to be read: any ZIP program opens archives/")
	}
	if err != nil {
		return err
	}
	s.about = about
	if err := s.able(ctx); err != nil {
		return err
	}
	key, err := s.ring().Load(about.ID)
	switch {
	case err == nil && !key.Public().Equal(ed25519.PublicKey(about.PublicKey)):
		return failure.New(failure.Denied, "the vault names another signing key than the one this machine made it with").
			WithHint("somebody has replaced vault.json, or the key in %s belongs to another vault", s.ring().Folder)
	case err == nil:
		s.key = &key
	case failure.KindOf(err) != failure.NotFound:
		return err
	}
	return nil
}

// able learns what a store that is not AWS can do: once, when its vault is made.
func (s *session) able(ctx context.Context) error {
	if s.server != nil {
		return nil
	}
	if s.learn {
		_, err := s.vault.Learn(ctx)
		return err
	}
	return s.vault.Able(ctx)
}

func (s *session) ring() keyring.Ring {
	return keyring.Ring{Folder: filepath.Join(s.config.StateDir, "keys")}
}

// create makes a new vault. The key is stored before the vault speaks of it.
func (s *session) create(ctx context.Context) (vault.Description, error) {
	if err := s.empty(ctx); err != nil {
		return vault.Description{}, err
	}
	if s.there {
		return vault.Description{}, s.noVault()
	}
	key, err := keyring.Generate(rand.Text())
	if err != nil {
		return vault.Description{}, err
	}
	s.made, s.anew = true, len(s.ring().All()) > 0
	s.learn = s.config.Vault.Remote() && s.config.Vault.Bucket.Endpoint != ""
	if err := s.ring().Store(key); err != nil {
		return vault.Description{}, err
	}
	err = s.vault.Initialise(ctx, vault.Description{ID: key.Vault, Created: time.Now().UTC(), Lifeboat: Version, PublicKey: key.Public()})
	switch kind := failure.KindOf(err); {
	case err == nil, kind == failure.Conflict:
	case kind == failure.NotFound && s.config.Vault.Remote():
		return vault.Description{}, failure.New(failure.NotFound, "there is no bucket %s: %w", s.config.Vault.Bucket.Name, err).
			WithHint("create the bucket, or correct vault: {s3: …} in %s", s.config.File)
	default:
		return vault.Description{}, err
	}
	return s.vault.Describe(ctx) // somebody else's, where two were at it at the same time
}

// empty refuses to make a new vault, with another key, of one that holds backups but has lost its vault.json.
func (s *session) empty(ctx context.Context) error {
	for _, prefix := range []vault.Key{vault.Records(""), "archives/", "packs/", "snapshots/"} {
		for info, err := range s.vault.List(ctx, prefix) {
			if failure.KindOf(err) == failure.NotFound && err != nil {
				return nil // no bucket yet: the first write says so better
			}
			if err != nil {
				return err
			}
			return failure.New(failure.Corrupt, "the vault holds backups (%s) but no %s", info.Key, vault.Marker)
		}
	}
	return nil
}

// signer returns the signing key, without which no backup can be made.
func (s *session) signer() (keyring.Key, error) {
	if s.key == nil {
		return s.ring().Load(s.about.ID)
	}
	return *s.key, nil
}

// trusted returns the keys whose signatures count as ours.
func (s *session) trusted() []ed25519.PublicKey {
	if s.key == nil {
		return nil
	}
	return []ed25519.PublicKey{s.key.Public()}
}

// holder names this process to whoever finds its lease: the host and this boot and process namespace of it, then the
// process.
func holder() string { return fmt.Sprintf("%s pid %d", machineName(), os.Getpid()) }

// machineName tells machines and containers apart that share a host name.
func machineName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // elsewhere than on Linux the host's name must do
	namespace, _ := os.Readlink("/proc/self/ns/pid")
	if id := strings.TrimSpace(string(boot)) + namespace; id != "" {
		sum := sha256.Sum256([]byte(id))
		host += " (" + hex.EncodeToString(sum[:4]) + ")"
	}
	return host
}

// canLink is an error where this machine has no key that links derive from.
func (s *session) canLink() error {
	if s.stack != nil {
		_, err := s.stack.linkKey()
		return err
	}
	_, err := s.signer()
	return err
}

func (s *session) notifier() *setup.Notifier {
	n := &setup.Notifier{Config: s.config, Vault: s.vault, Holder: holder(), Version: Version}
	switch {
	case s.stack != nil:
		n.LinkKey, _ = s.stack.linkKey() // without it there are no links: see canLink
	case s.key != nil:
		n.LinkKey = s.key.Links()
	}
	return n
}

// logNotTold says that nobody could be told of a failed run.
func (s *session) logNotTold(err error) {
	s.log.Error("nobody was told of the failed run", "error", err)
}
