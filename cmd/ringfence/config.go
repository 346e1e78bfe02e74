package main

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ringfence/ringfence/scoring"
)

// Config is every setting that outlives a command line: the manual of the configuration file. A setting is
// taken from its flag, else from its variable, where that is not empty, else from the file that --config or RINGFENCE_CONFIG names,
// else it has its default. No file is looked for that nobody named.
//
// The setting on_error is --on-error as a flag, RINGFENCE_ON_ERROR as a variable, and on_error in the
// file. The file is flat YAML; a name that is not here is refused, and so is one that is given twice. Secrets are
// never settings: the keyring is a file, and a setting says where.
type Config struct {
	// Data is the folder that holds the store, and the keyring unless Keyring says otherwise. Relative to the
	// folder that ringfence is started in. One process has it open at a time.
	Data string `yaml:"data" default:".ringfence" usage:"data folder"`

	// Keyring is the file with the secret keys; "" is keyring.json in Data. Whoever has it and the store can try out numbers, and
	// without it nothing that was counted can be read: keep it elsewhere in production, readable by the server alone.
	Keyring string `yaml:"keyring" usage:"keyring file (default keyring.json in the data folder; keep it elsewhere in production)"`

	// PassphraseFile is the file with the passphrase of a sealed keyring, readable by its owner alone; "" is the systemd credential
	// ringfence-passphrase, or the terminal.
	PassphraseFile string `yaml:"passphrase_file" usage:"file with the passphrase of a sealed keyring (default: the systemd credential ringfence-passphrase, or the terminal)"`

	// APIKeys is the file of the keys for callers; "" is apikeys.json in Data. It is read again when it changes.
	APIKeys string `yaml:"apikeys" usage:"file of the keys for callers (default apikeys.json in the data folder)"`

	// Addr is where serve listens, host:port. Port 0 takes one that is free. An address that is no loopback address is served only to
	// callers with keys, and with TLSCert and TLSKey or BehindProxy.
	Addr string `yaml:"addr" default:"127.0.0.1:8080" usage:"address to listen on; one that is no loopback address needs keys for callers, and TLS or --behind-proxy"`

	// TLSCert is the certificate chain for TLS 1.3 in PEM, read again when it changes. It goes with TLSKey.
	TLSCert string `yaml:"tls_cert" usage:"certificate chain in PEM, for TLS 1.3; read again when it changes"`

	// TLSKey is the private key of the certificate in PEM.
	TLSKey string `yaml:"tls_key" usage:"private key of the certificate in PEM"`

	// ClientCA lets in only clients with a certificate of these authorities. It needs TLSCert.
	ClientCA string `yaml:"client_ca" usage:"let in only clients with a certificate of these authorities, in PEM"`

	// BehindProxy says that a proxy in front speaks TLS, and nobody but it reaches Addr. It excludes TLSCert.
	BehindProxy bool `yaml:"behind_proxy" default:"false" usage:"a proxy in front speaks TLS, and nobody but it reaches the address"`

	// ProfileSocket is a unix socket that only the user of the server can open, for profiles; "" is none.
	ProfileSocket string `yaml:"profile_socket" usage:"path of a unix socket for profiles, which only the user of the server can open (default: none)"`

	// KeepSubjects is how long an idle subject is kept, at least 180 days.
	KeepSubjects time.Duration `yaml:"keep_subjects" default:"4320h0m0s" usage:"how long an idle subject is kept; at least 180 days"`

	// KeepEvents is how long an event stays in the log: at least an hour, at most as long as subjects.
	KeepEvents time.Duration `yaml:"keep_events" default:"2160h0m0s" usage:"how long events are kept in the log; at most as long as subjects"`

	// LogBytes bounds the log on the disk: beyond, its oldest hours go early, or the minutes of a single hour that is larger.
	LogBytes int64 `yaml:"log_bytes" default:"21474836480" usage:"size of the log on the disk beyond which its oldest hours are given up early"`

	// CacheBytes bounds the records of subjects in memory, but for those that are not flushed yet; the process may take twice
	// as much for them. A subject that is not in memory costs a read of the tables.
	CacheBytes int64 `yaml:"cache_bytes" default:"268435456" usage:"bytes of subjects' records kept in memory; 0 is the default"`

	// DirtyBytes bounds the records of subjects in memory that are not flushed to tables yet; when half of it is taken, or half a million
	// changes were made, they are. 0 is a 32nd of the memory that the process may have, from 64 to 512 MiB. With more, less is written again and again where subjects
	// seldom come back; what has to be done again after a crash is bounded by a million changes all the same.
	DirtyBytes int64 `yaml:"dirty_bytes" default:"0" usage:"bytes of subjects' records in memory that are not in tables yet; 0 is a 32nd of the machine's memory, from 64 to 512 MiB"`

	// BlockCacheBytes is room for blocks of tables in memory. 0 is a 32nd of the memory that the process may have, from 16 MiB to 1 GiB.
	// Blocks also take the room of those tables of MemTableBytes that are not there: only the sum of the five is a bound.
	BlockCacheBytes int64 `yaml:"block_cache_bytes" default:"0" usage:"bytes of blocks of tables kept in memory, beside the room of --memtable-bytes that is not taken; 0 is a 32nd of the machine's memory, from 16 MiB to 1 GiB"`

	// MemTableBytes bounds each of up to four tables of recent log entries in memory. 0 is a 128th of the memory that the process may
	// have, from 8 to 64 MiB.
	MemTableBytes int64 `yaml:"memtable_bytes" default:"0" usage:"bytes of each of up to four tables of recent log entries in memory; 0 is a 128th of the machine's memory, from 8 to 64 MiB"`

	// DiskReserve is how many bytes stay free on the disk: below, nothing is counted and only reads are answered. -1 is none.
	DiskReserve int64 `yaml:"disk_reserve" default:"268435456" usage:"free bytes on the disk below which nothing is counted and only reads are answered; -1 is none"`

	// MaxInFlight is how many requests that change something are worked on at a time, at most; fewer, down to 16, once more have come and
	// processors are not to be had. Those beyond wait for up to 25 ms for a place, and are otherwise answered half a second after
	// they came, with 503 and Retry-After. A quarter as many streams of lines, and at least one, may be open; those beyond are answered so at once.
	MaxInFlight int64 `yaml:"max_in_flight" default:"512" usage:"requests that change something worked on at a time, at most; those beyond are answered with 503 and Retry-After, after half a second; a quarter as many batches may be open"`

	// Policy is the policy file that serve puts in force when it starts, as a version of its own unless it is live already. "" goes on
	// with what is live; in a new data folder, with the embedded policy.
	Policy string `yaml:"policy" usage:"policy file to put in force, as a version of its own unless it is live already (default: what is live; in a new data folder, the embedded policy)"`

	// OnError is what an assessment answers when the store cannot be asked: deny refuses it with 503, allow and challenge decide so
	// and say store.unavailable in degraded.
	OnError string `yaml:"on_error" default:"deny" usage:"what an assessment answers when the store cannot be asked: deny (with 503), allow or challenge"`

	// Quiet keeps requests out of the log of serve; what goes wrong stays in it.
	Quiet bool `yaml:"quiet" default:"false" usage:"log no requests, only what goes wrong"`

	// OTLPEndpoint is the address of an OpenTelemetry collector that takes OTLP over HTTP; "" makes no spans.
	OTLPEndpoint string `yaml:"otlp_endpoint" usage:"address of an OpenTelemetry collector, such as http://127.0.0.1:4318 (default: spans are not made)"`

	// Server is the address that commands ask: assess, outcome, lists ls and rm, doctor.
	Server string `yaml:"server" default:"http://127.0.0.1:8080" usage:"address of the server"`
}

// settingNames returns the names of all settings, in the order of Config.
func settingNames() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		names = append(names, f.Tag.Get("yaml"))
	}
	return names
}

// manual returns what Config says of a setting.
func manual(name string) (value, usage string) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if f.Tag.Get("yaml") == name {
			return f.Tag.Get("default"), f.Tag.Get("usage")
		}
	}
	panic("Config has no " + name)
}

// origin is the annotation of a flag that is a setting: where its value comes from.
const origin = "origin"

func flagName(setting string) string { return strings.ReplaceAll(setting, "_", "-") }

// textSetting makes the flag of a setting.
func textSetting(fl *pflag.FlagSet, into *string, name string) {
	value, usage := manual(name)
	fl.StringVar(into, flagName(name), value, usage)
	_ = fl.SetAnnotation(flagName(name), origin, []string{"default"}) // the flag is there
}

// switchSetting makes the flag of a setting that is true or false.
func switchSetting(fl *pflag.FlagSet, into *bool, name string) {
	value, usage := manual(name)
	fl.BoolVar(into, flagName(name), value == "true", usage)
	_ = fl.SetAnnotation(flagName(name), origin, []string{"default"}) // the flag is there
}

// spanSetting makes the flag of a setting that is a time span.
func spanSetting(fl *pflag.FlagSet, into *time.Duration, name string) {
	value, usage := manual(name)
	span, err := time.ParseDuration(value)
	if err != nil {
		panic("Config has a default that is no time span: " + name)
	}
	fl.DurationVar(into, flagName(name), span, usage)
	_ = fl.SetAnnotation(flagName(name), origin, []string{"default"}) // the flag is there
}

// sizeSetting makes the flag of a setting that is a number of bytes.
func sizeSetting(fl *pflag.FlagSet, into *int64, name string) {
	value, usage := manual(name)
	size, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		panic("Config has a default that is no number: " + name)
	}
	fl.Int64Var(into, flagName(name), size, usage)
	_ = fl.SetAnnotation(flagName(name), origin, []string{"default"}) // the flag is there
}

// configure gives the settings of a command the values that its flags do not give, and notes where
// each comes from.
func configure(cmd *cobra.Command) error {
	settings := 0
	cmd.Flags().VisitAll(func(f *pflag.Flag) { settings += len(f.Annotations[origin]) })
	if settings == 0 {
		return nil // so that version and help work whatever a file says
	}
	path := os.Getenv("RINGFENCE_CONFIG")
	if f := cmd.Flag("config"); f != nil && f.Changed {
		path = f.Value.String()
	}
	var file []scoring.Setting
	if path != "" {
		doc, err := os.ReadFile(path) //nolint:gosec // the operator names the file
		if err != nil {
			return fmt.Errorf("the configuration file: %w", err)
		}
		if file, err = scoring.ReadSettings(doc, settingNames()); err != nil {
			return fmt.Errorf("configuration file %s:\n%w", path, err)
		}
	}
	var bad error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[origin] != nil && bad == nil {
			bad = settle(f, path, file)
		}
	})
	return bad
}

// kinds say what a setting takes, by the type of its flag.
var kinds = map[string]string{"bool": "true or false", "duration": "a time span, such as 2160h", "int64": "a whole number"}

// settle takes one setting from where it is given first.
func settle(f *pflag.Flag, path string, file []scoring.Setting) error {
	name := strings.ReplaceAll(f.Name, "-", "_")
	variable := "RINGFENCE_" + strings.ToUpper(name)
	at := slices.IndexFunc(file, func(s scoring.Setting) bool { return s.Name == name })
	value := os.Getenv(variable)
	from := variable
	switch {
	case f.Changed:
		f.Annotations[origin] = []string{"--" + f.Name}
		return nil
	case value != "":
	case at >= 0:
		value, from = file[at].Value, path+", line "+strconv.Itoa(file[at].Line)
	default:
		return nil
	}
	if f.Value.Set(value) != nil {
		return usage(fmt.Sprintf("%s: %s is %s", from, name, kinds[f.Value.Type()])) // a text takes all values
	}
	f.Annotations[origin] = []string{from}
	return nil
}

const configHelp = `Settings come from flags, else from variables, else from the file that --config or RINGFENCE_CONFIG names, else they have their defaults. A setting such as on_error is
--on-error, RINGFENCE_ON_ERROR, or a line of the file, which is flat YAML:

  data: /var/lib/ringfence
  on_error: challenge

What is printed can be such a file.`

func newConfig() *cobra.Command {
	config := &cobra.Command{Use: "config", Short: "show the settings"}
	config.AddCommand(newConfigShow())
	return config
}

// setting is one line of config show.
type setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func newConfigShow() *cobra.Command {
	var texts Config
	var origins bool
	form := output("table")
	cmd := &cobra.Command{
		Use: "show", Short: "print every setting, and where it comes from", Long: configHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []setting
			for _, name := range settingNames() {
				f := cmd.Flag(flagName(name))
				all = append(all, setting{name, f.Value.String(), f.Annotations[origin][0]})
			}
			return printSettings(cmd.OutOrStdout(), form, all, origins)
		},
	}
	fl := cmd.Flags()
	v := reflect.ValueOf(&texts).Elem()
	for i, name := range settingNames() {
		switch into := v.Field(i).Addr().Interface().(type) {
		case *string:
			textSetting(fl, into, name)
		case *bool:
			switchSetting(fl, into, name)
		case *time.Duration:
			spanSetting(fl, into, name)
		case *int64:
			sizeSetting(fl, into, name)
		}
	}
	fl.BoolVar(&origins, "origin", false, "say where each comes from")
	fl.VarP(&form, "output", "o", "table (which is YAML), json or ndjson")
	return cmd
}

// plainText needs no quotes in YAML.
var plainText = regexp.MustCompile(`^[A-Za-z./][A-Za-z0-9._/-]*$`)

func printSettings(w io.Writer, form output, all []setting, origins bool) error {
	switch form {
	case "ndjson":
		for _, s := range all {
			if err := printAs(form, w, s, nil); err != nil {
				return err
			}
		}
		return nil
	case "json":
		return printAs(form, w, all, nil)
	}
	for _, s := range all {
		line := s.Name + ": " + s.Value
		if !plainText.MatchString(s.Value) || s.Value == "null" {
			line = s.Name + ": " + strconv.Quote(s.Value)
		}
		if origins {
			line += "  # " + s.Origin
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
