package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
)

const (
	// requestBytesMax leaves room around batchBytesMax for the encoding.
	requestBytesMax = batchBytesMax + batchBytesMax/8
	// quotaBytes is the most that etcd advises for its data file.
	quotaBytes = 8 << 30
	// defragAbove is how many megabytes of the data file must be free for a
	// start to take the time to shrink it.
	defragAbove = 512
	// One member alone loses no election, so its clock may tick fast: it is
	// ready sooner.
	embeddedTick     = 20 * time.Millisecond
	embeddedElection = 200 * time.Millisecond
	// embeddedSnapshotEvery and embeddedCatchUp bound the raft entries held in
	// memory, of up to batchBytesMax each. No follower has to catch up.
	embeddedSnapshotEvery = 1000
	embeddedCatchUp       = 10
	// embeddedHistory is how long old versions are kept: the watch of this
	// process is their only reader.
	embeddedHistory = "1m"
	// startTimeout bounds the start of the embedded etcd: a disk may be slow.
	startTimeout = 60 * time.Second
	// dialTimeout bounds the first answer of an external etcd.
	dialTimeout = 10 * time.Second
)

func openBackend(ctx context.Context, o Options) (backend, error) {
	if len(o.Endpoints) > 0 {
		return dial(ctx, o)
	}
	if o.Dir == "" {
		return backend{}, errors.New("a store needs a data folder or the endpoints of an etcd")
	}
	return startEmbedded(ctx, o)
}

// startEmbedded runs an etcd in this process. It listens nowhere: its client
// calls it directly.
func startEmbedded(ctx context.Context, o Options) (backend, error) {
	dir := filepath.Join(o.Dir, "etcd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return backend{}, fmt.Errorf("making the data folder: %w", err)
	}
	unlock, err := lockDir(o.Dir)
	if err != nil {
		return backend{}, err
	}
	etcd, err := embed.StartEtcd(embeddedConfig(dir, o.Log))
	if err != nil {
		return backend{}, errors.Join(fmt.Errorf("starting etcd in %s: %w", dir, err), unlock())
	}
	var client *clientv3.Client
	stop := func() error {
		var err error
		if client != nil {
			err = client.Close()
		}
		etcd.Close()
		if errors.Is(err, context.Canceled) { // how a client without connections closes
			err = nil
		}
		return errors.Join(err, unlock())
	}
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-etcd.Server.ReadyNotify():
	case err = <-etcd.Err():
	case <-timeout.C:
		err = fmt.Errorf("not ready after %s", startTimeout)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return backend{}, errors.Join(fmt.Errorf("starting etcd in %s: %w", dir, err), stop())
	}
	client = v3client.New(etcd.Server)
	// An etcd that once was full stays so until somebody says otherwise, and
	// nobody else can reach this one. If it still is full it will say so again.
	if _, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return backend{}, errors.Join(fmt.Errorf("starting etcd in %s: taking alarms back: %w", dir, err), stop())
	}
	return backend{kv: client, watcher: client, sole: true, close: stop}, nil
}

func embeddedConfig(dir string, log *slog.Logger) *embed.Config {
	c := embed.NewConfig()
	c.Name = "sallyport"
	c.Dir = dir
	// The URL names the only member; nobody listens on it.
	nowhere := url.URL{Scheme: "http", Host: "localhost:2380"}
	c.ListenPeerUrls, c.ListenClientUrls = nil, nil
	c.AdvertisePeerUrls, c.AdvertiseClientUrls = []url.URL{nowhere}, nil
	c.InitialCluster = c.Name + "=" + nowhere.String()
	c.EnableGRPCGateway = false
	c.TickMs = uint(embeddedTick.Milliseconds())
	c.ElectionMs = uint(embeddedElection.Milliseconds())
	c.SnapshotCount = embeddedSnapshotEvery
	c.SnapshotCatchUpEntries = embeddedCatchUp
	c.MaxTxnOps = batchOpsMax
	c.MaxRequestBytes = requestBytesMax
	c.QuotaBackendBytes = quotaBytes
	c.BootstrapDefragThresholdMegabytes = defragAbove
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = embeddedHistory
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(etcdLog{log}))
	return c
}

// lockDir keeps a second process out of a data folder: etcd itself would wait
// for the first one to end, without a word.
func lockDir(dir string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the data folder %s is in use by another process: %w", dir, err), f.Close())
	}
	return f.Close, nil
}

// dial connects to an external cluster.
func dial(ctx context.Context, o Options) (backend, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:          o.Endpoints,
		TLS:                o.TLS,
		DialTimeout:        dialTimeout,
		MaxCallSendMsgSize: requestBytesMax,
		Logger:             zap.New(etcdLog{o.Log}),
	})
	if err != nil {
		return backend{}, fmt.Errorf("connecting to etcd at %v: %w", o.Endpoints, err)
	}
	if err := probe(ctx, client, o.Prefix); err != nil {
		return backend{}, errors.Join(fmt.Errorf("connecting to etcd at %v: %w", o.Endpoints, err), client.Close())
	}
	return backend{kv: client, watcher: client, close: client.Close}, nil
}

// probe asks a cluster, without writing, whether it takes transactions as
// large as ours may be: better to hear it now than at the first large one.
func probe(ctx context.Context, kv clientv3.KV, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nothing := clientv3.OpGet(prefix+"probe", clientv3.WithCountOnly())
	ops := make([]clientv3.Op, batchOpsMax)
	for i := range ops {
		ops[i] = nothing
	}
	never := clientv3.Compare(clientv3.Value(prefix+"probe"), "=", string(make([]byte, batchBytesMax)))
	if _, err := kv.Txn(ctx).If(never).Then(ops...).Commit(); err != nil {
		return fmt.Errorf("trying a transaction of %d operations and %d bytes (etcd's --max-txn-ops and --max-request-bytes must allow %d and %d): %w",
			batchOpsMax, batchBytesMax, batchOpsMax, requestBytesMax, err)
	}
	return nil
}
