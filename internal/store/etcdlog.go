package store

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// etcdLog hands what etcd logs to our own logger, one level lower: etcd's
// information is our debugging, its warnings our information. Errors stay
// errors.
type etcdLog struct{ log *slog.Logger }

// Enabled implements zapcore.LevelEnabler.
func (l etcdLog) Enabled(level zapcore.Level) bool {
	return l.log.Enabled(context.TODO(), slogLevel(level)) //nolint:forbidigo // zap's interface passes no context
}

// With implements zapcore.Core.
func (l etcdLog) With(fields []zapcore.Field) zapcore.Core {
	return etcdLog{l.log.With(slogArgs(fields)...)}
}

// Check implements zapcore.Core.
func (l etcdLog) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Enabled(e.Level) {
		return ce.AddCore(e, l)
	}
	return ce
}

// Write implements zapcore.Core.
func (l etcdLog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	args := append([]any{slog.String("what", e.Message)}, slogArgs(fields)...)
	l.log.Log(context.TODO(), slogLevel(e.Level), "etcd", args...) //nolint:forbidigo // zap's interface passes no context
	return nil
}

// Sync implements zapcore.Core.
func (l etcdLog) Sync() error { return nil }

func slogLevel(level zapcore.Level) slog.Level {
	switch {
	case level >= zapcore.ErrorLevel:
		return slog.LevelError
	case level == zapcore.WarnLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func slogArgs(fields []zapcore.Field) []any {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	args := make([]any, 0, len(fields))
	for _, f := range fields {
		args = append(args, slog.Any(f.Key, m.Fields[f.Key]))
	}
	return args
}
