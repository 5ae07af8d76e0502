package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

const (
	largestCopy    = 5 << 30 // S3's own limit; the library's default is 0, which refuses every copy
	maxConnections = 1024    // the default is 0, which refuses every request
	maxRequests    = 512
	maxParts       = 10000
	bindAttempts   = 20
)

// engine is the running server. There is one per process: posix.New changes the working directory.
type engine struct {
	api   *s3api.S3ApiServer
	store *posix.Posix
	ready chan struct{} // closed when the port is open
	ended chan error    // how serving ended
}

func newEngine(v layout, creds credentials) (*engine, error) {
	restrictNewFiles()
	store, err := openStore(v)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	iam, err := auth.New(&auth.Opts{
		RootAccount: auth.Account{Access: creds.Access, Secret: creds.Secret, Role: auth.RoleAdmin},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the account: %w", err)
	}
	e := &engine{store: store, ready: make(chan struct{}), ended: make(chan error, 1)}
	e.api, err = s3api.New(guard(store, v),
		middlewares.RootUserConfig{Access: creds.Access, Secret: creds.Secret}, region, iam, nil, nil, nil, nil,
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithMpMaxParts(maxParts),
		s3api.WithConcurrencyLimiter(maxConnections, maxRequests),
		s3api.WithRoute("GET", greetingPath, answerGreeting(creds)),
		s3api.WithOnListen(func() { close(e.ready) }))
	if err != nil {
		return nil, fmt.Errorf("set up the S3 server: %w", err)
	}
	return e, nil
}

// openStore keeps metadata in extended attributes, or beside the files where there are none. A folder that began with
// the latter stays with it, also after a move to a file system that has attributes.
func openStore(v layout) (*posix.Posix, error) {
	opts := posix.PosixOpts{VersioningDir: v.versions(), CopyObjectThreshold: largestCopy}
	opts.SetNewDirPerm(0o700)
	opts.SetNewFilePerm(0o600)
	var storer meta.MetadataStorer = meta.XattrMeta{}
	_, err := os.Stat(v.meta())
	if err == nil || (meta.XattrMeta{}).Test(v.buckets()) != nil {
		if err := os.MkdirAll(v.meta(), 0o700); err != nil {
			return nil, err
		}
		if storer, err = meta.NewSideCar(v.meta()); err != nil {
			return nil, err
		}
		opts.SideCarDir = v.meta()
	}
	if err := repair(v, storer); err != nil {
		return nil, err
	}
	return posix.New(v.buckets(), partChecksums{unmarked{tagged{storer}}}, opts)
}

// listen starts serving on a port of 127.0.0.1 and returns host:port. Where that port is taken, or 0, it takes a free one.
func (e *engine) listen(port int) (string, error) {
	var err error
	for range bindAttempts {
		if port == 0 {
			if port, err = freePort(); err != nil {
				return "", err
			}
		}
		host := net.JoinHostPort(loopback, strconv.Itoa(port))
		go func() { e.ended <- e.api.ServeMultiPort([]string{host}) }()
		select {
		case <-e.ready:
			return host, nil
		case err = <-e.ended:
		}
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			return "", err
		}
		port = 0 // somebody else has it
	}
	return "", err
}

// freePort returns a port that was free a moment ago: the server takes addresses, not listeners.
func freePort() (int, error) {
	l, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// serve returns when ctx has ended and the requests under way have had their time, or when serving ends by itself.
func (e *engine) serve(ctx context.Context) error {
	defer e.store.Shutdown()
	select {
	case err := <-e.ended:
		return fmt.Errorf("the S3 server ended: %w", err)
	case <-ctx.Done():
	}
	return e.api.ShutDown()
}
