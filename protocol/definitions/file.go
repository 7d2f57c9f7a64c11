package definitions

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// File is a file of definitions as RabbitMQ exports it. Operators' policies and limits of vhosts stand
// among the parameters there.
type File struct {
	RabbitVersion    string            `json:"rabbit_version,omitempty"`
	RabbitMQVersion  string            `json:"rabbitmq_version,omitempty"`
	ProductName      string            `json:"product_name,omitempty"`
	ProductVersion   string            `json:"product_version,omitempty"`
	Users            []User            `json:"users,omitzero"`
	VHosts           []VHost           `json:"vhosts,omitzero"`
	Permissions      []Permission      `json:"permissions"`
	TopicPermissions []TopicPermission `json:"topic_permissions"`
	Parameters       []Parameter       `json:"parameters"`
	GlobalParameters []Parameter       `json:"global_parameters,omitzero"`
	Policies         []Policy          `json:"policies"`
	Queues           []Queue           `json:"queues"`
	Exchanges        []Exchange        `json:"exchanges"`
	Bindings         []Binding         `json:"bindings"`
}

// User is who may come in. Password is taken on import alone.
type User struct {
	Name             string           `json:"name"`
	Password         *string          `json:"password,omitempty"`
	PasswordHash     string           `json:"password_hash"`
	HashingAlgorithm string           `json:"hashing_algorithm,omitempty"`
	Tags             Tags             `json:"tags"`
	Limits           map[string]int64 `json:"limits,omitempty"`

	// The secrets of SCRAM, as ScramText makes them, where the password is not told. RabbitMQ has none.
	ScramSHA256 string `json:"scram_sha_256,omitempty"`
	ScramSHA512 string `json:"scram_sha_512,omitempty"`
}

// Tags are a list, or as older versions have it a text with commas.
type Tags []string

// MarshalJSON writes a list.
func (t Tags) MarshalJSON() ([]byte, error) {
	if t == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]string(t))
}

// UnmarshalJSON reads both forms.
func (t *Tags) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*t = ParseTags(text)
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// ParseTags reads tags with commas between.
func ParseTags(text string) (t Tags) {
	for _, tag := range strings.Split(text, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			t = append(t, tag)
		}
	}
	return t
}

// Truth is true or false, which some tools write as a text.
type Truth bool

// UnmarshalJSON reads true and "true".
func (t *Truth) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseBool(strings.Trim(string(b), `"`))
	if err != nil {
		return fmt.Errorf("true or false is wanted, not %.20s", b)
	}
	*t = Truth(v)
	return nil
}

// Number is a whole number, which some tools write as a text.
type Number int64

// UnmarshalJSON reads 5 and "5".
func (n *Number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	if err != nil {
		return fmt.Errorf("a whole number is wanted, not %.20s", b)
	}
	*n = Number(v)
	return nil
}

// VHost is a space of names.
type VHost struct {
	Name             string         `json:"name"`
	Description      string         `json:"description,omitempty"`
	Tags             Tags           `json:"tags,omitempty"`
	DefaultQueueType string         `json:"default_queue_type,omitempty"`
	Metadata         map[string]any `json:"metadata,omitempty"`
	Limits           any            `json:"limits,omitempty"`
	Tracing          Truth          `json:"tracing,omitempty"`
}

// Permission is what a user may do in a vhost: patterns of names.
type Permission struct {
	User      string `json:"user"`
	VHost     string `json:"vhost"`
	Configure string `json:"configure"`
	Write     string `json:"write"`
	Read      string `json:"read"`
}

// TopicPermission is what a user may publish to and bind at a topic exchange: patterns of routing keys.
type TopicPermission struct {
	User     string `json:"user"`
	VHost    string `json:"vhost"`
	Exchange string `json:"exchange"`
	Write    string `json:"write"`
	Read     string `json:"read"`
}

// Parameter is what tools keep in the broker; a global one has no component and vhost.
type Parameter struct {
	VHost     string          `json:"vhost,omitempty"`
	Component string          `json:"component,omitempty"`
	Name      string          `json:"name"`
	Value     json.RawMessage `json:"value"`
}

// Policy gives settings to what its pattern matches.
type Policy struct {
	VHost      string         `json:"vhost"`
	Name       string         `json:"name"`
	Pattern    string         `json:"pattern"`
	ApplyTo    string         `json:"apply-to"`
	Definition map[string]any `json:"definition"`
	Priority   Number         `json:"priority"`
}

// Queue is a queue as it was declared.
type Queue struct {
	Name       string         `json:"name"`
	VHost      string         `json:"vhost"`
	Type       string         `json:"type,omitempty"`
	Durable    Truth          `json:"durable"`
	AutoDelete Truth          `json:"auto_delete"`
	Arguments  map[string]any `json:"arguments"`
}

// Exchange is an exchange as it was declared.
type Exchange struct {
	Name       string         `json:"name"`
	VHost      string         `json:"vhost"`
	Type       string         `json:"type"`
	Durable    Truth          `json:"durable"`
	AutoDelete Truth          `json:"auto_delete"`
	Internal   Truth          `json:"internal"`
	Arguments  map[string]any `json:"arguments"`
}

// Binding leads from an exchange to a queue or another exchange.
type Binding struct {
	Source          string         `json:"source"`
	VHost           string         `json:"vhost"`
	Destination     string         `json:"destination"`
	DestinationType string         `json:"destination_type"`
	RoutingKey      string         `json:"routing_key"`
	Arguments       map[string]any `json:"arguments"`
}

// MaxFileBytes bounds a file of definitions.
const MaxFileBytes = 64 << 20

// Read reads a file.
func Read(r io.Reader) (*File, error) {
	f := &File{}
	if err := Decode(r, f); err != nil {
		return nil, fmt.Errorf("definitions: %w", err)
	}
	return f, nil
}

// Decode reads JSON, numbers as they were written: 10 is a whole one. It reads no more than MaxFileBytes.
func Decode(r io.Reader, into any) error {
	d := json.NewDecoder(io.LimitReader(r, MaxFileBytes))
	d.UseNumber()
	return d.Decode(into)
}
