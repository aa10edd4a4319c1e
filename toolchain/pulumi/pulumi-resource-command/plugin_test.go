// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"
	"testing"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/integration/fake"
	"github.com/pulumi/pulumi/pkg/v3/resource/provider"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// urn is the resource that the tests work on.
const urn = "urn:pulumi:stack::project::command:local:Command::thing"

// props are the properties of a resource or a function in plain Go values, or
// in property values where plain ones cannot say it.
type props map[string]any

// unknown is a value that a preview does not know yet.
var unknown = resource.MakeComputed(resource.NewStringProperty(""))

// secret is a secret string.
func secret(text string) resource.PropertyValue {
	return resource.MakeSecret(resource.NewStringProperty(text))
}

// subject is the plugin under test, driven by the messages of the engine.
type subject struct {
	t      *testing.T
	server rpc.ResourceProviderServer
	engine *engine
}

// serve starts the plugin with an engine to log to.
func serve(t *testing.T) subject {
	t.Helper()
	engine := &engine{onLog: func(*rpc.LogRequest) {}}
	address, _, err := fake.StartEngineServer(t.Context(), engine)
	must(t, err)
	host, err := provider.NewHostClient(address)
	must(t, err)
	t.Cleanup(func() { host.Close() })
	server, err := p.RawServer(packageName, semver(), newProvider())(host)
	must(t, err)
	return subject{t, server, engine}
}

// engine is the part of the engine that plugins log to.
type engine struct {
	rpc.UnimplementedEngineServer
	mu    sync.Mutex
	logs  []*rpc.LogRequest
	onLog func(*rpc.LogRequest)
}

// Log keeps req and shows it to onLog.
func (e *engine) Log(_ context.Context, req *rpc.LogRequest) (*emptypb.Empty, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logs = append(e.logs, req)
	e.onLog(req)
	return &emptypb.Empty{}, nil
}

// logged returns the messages so far.
func (e *engine) logged() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var messages []string
	for _, req := range e.logs {
		messages = append(messages, req.GetMessage())
	}
	return messages
}

func (s subject) check(inputs props) (props, []*rpc.CheckFailure) {
	s.t.Helper()
	resp, err := s.server.Check(s.t.Context(), &rpc.CheckRequest{Urn: urn, News: s.encode(inputs)})
	must(s.t, err)
	return s.decode(resp.GetInputs()), resp.GetFailures()
}

func (s subject) diff(old, news props) *rpc.DiffResponse {
	s.t.Helper()
	resp, err := s.server.Diff(s.t.Context(), &rpc.DiffRequest{
		Id: "id", Urn: urn, Olds: s.encode(state(old, nil)), OldInputs: s.encode(old), News: s.encode(news),
	})
	must(s.t, err)
	return resp
}

func (s subject) tryCreate(req *rpc.CreateRequest, inputs props) (*rpc.CreateResponse, error) {
	req.Urn, req.Properties = urn, s.encode(inputs)
	return s.server.Create(s.t.Context(), req)
}

func (s subject) create(inputs props) props {
	s.t.Helper()
	resp, err := s.tryCreate(&rpc.CreateRequest{}, inputs)
	must(s.t, err)
	return s.decode(resp.GetProperties())
}

func (s subject) previewCreate(inputs props) props {
	s.t.Helper()
	resp, err := s.tryCreate(&rpc.CreateRequest{Preview: true}, inputs)
	must(s.t, err)
	return s.decode(resp.GetProperties())
}

// createError is the text of the error that create fails with.
func (s subject) createError(inputs props) string {
	s.t.Helper()
	_, err := s.tryCreate(&rpc.CreateRequest{}, inputs)
	return failure(s.t, err)
}

func (s subject) update(old, inputs props) props {
	s.t.Helper()
	return s.send(&rpc.UpdateRequest{}, old, inputs)
}

func (s subject) previewUpdate(old, inputs props) props {
	s.t.Helper()
	return s.send(&rpc.UpdateRequest{Preview: true}, old, inputs)
}

func (s subject) send(req *rpc.UpdateRequest, old, inputs props) props {
	s.t.Helper()
	req.Id, req.Urn, req.Olds, req.News = "id", urn, s.encode(old), s.encode(inputs)
	resp, err := s.server.Update(s.t.Context(), req)
	must(s.t, err)
	return s.decode(resp.GetProperties())
}

func (s subject) delete(old props) error {
	_, err := s.server.Delete(s.t.Context(), &rpc.DeleteRequest{Id: "id", Urn: urn, Properties: s.encode(old)})
	return err
}

func (s subject) tryRun(args props) (*rpc.InvokeResponse, error) {
	return s.server.Invoke(s.t.Context(), &rpc.InvokeRequest{Tok: "command:local:run", Args: s.encode(args)})
}

func (s subject) run(args props) props {
	s.t.Helper()
	resp, err := s.tryRun(args)
	must(s.t, err)
	return s.decode(resp.GetReturn())
}

// wire is how the engine puts properties in messages.
var wire = plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true, KeepResources: true}

func (s subject) encode(values props) *structpb.Struct {
	s.t.Helper()
	message, err := plugin.MarshalProperties(resource.NewPropertyMapFromMap(values), wire)
	must(s.t, err)
	return message
}

func (s subject) decode(message *structpb.Struct) props {
	s.t.Helper()
	values, err := plugin.UnmarshalProperties(message, wire)
	must(s.t, err)
	result := props{}
	for name, value := range values {
		result[string(name)] = value
	}
	return result
}

// state is the state of a resource with inputs, whose results are outputs;
// stdout and stderr are empty by default.
func state(inputs, outputs props) props {
	result := props{"stdout": "", "stderr": ""}
	for _, values := range []props{inputs, outputs} {
		for name, value := range values {
			result[name] = value
		}
	}
	return result
}

// expect fails unless got has the values of want and no others.
func expect(t *testing.T, got, want props) {
	t.Helper()
	g, w := resource.NewPropertyMapFromMap(got), resource.NewPropertyMapFromMap(want)
	if !g.DeepEquals(w) {
		t.Errorf("got  %v\nwant %v", g, w)
	}
}

// equal fails unless got is want.
func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failure is the text of err, which must be there.
func failure(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	return err.Error()
}
