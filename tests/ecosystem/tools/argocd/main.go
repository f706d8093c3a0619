// Argo CD's own packages on our scripts and objects. Prints one line for each claim, `ok ...` or
// `FAILED ...`, and ends with 1 if one failed.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sort"

	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	argodiff "github.com/argoproj/argo-cd/v3/util/argo/diff"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"
)

const usage = `usage: argocd-check scripts ARGOCD-CM FOLDER
       argocd-check diff ARGOCD-CM DESIRED LIVE

ARGOCD-CM is a ConfigMap argocd-cm with our scripts, read as Argo CD reads it.
scripts: runs every health_test.yaml and action_test.yaml below FOLDER, in Argo CD's own layout.
diff:    wants no difference between an object as it stands in Git and as it stands in the cluster.`

// What changes with every run of an action.
const requestedAt = "reconcile.fluxcd.io/requestedAt"

type overrides = map[string]v1alpha1.ResourceOverride

type healthTests struct {
	Tests []struct {
		InputPath    string              `json:"inputPath"`
		HealthStatus health.HealthStatus `json:"healthStatus"`
	} `json:"tests"`
}

type actionTests struct {
	DiscoveryTests []struct {
		InputPath string                    `json:"inputPath"`
		Result    []v1alpha1.ResourceAction `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

var passed, failed int

func claim(what string, err error) {
	if err == nil {
		passed++
		fmt.Printf("ok %s\n", what)
		return
	}
	failed++
	fmt.Printf("FAILED %s: %v\n", what, err)
}

func main() {
	logrus.SetOutput(io.Discard)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

func run(args []string) error {
	scripts := len(args) == 3 && args[0] == "scripts"
	if !scripts && !(len(args) == 4 && args[0] == "diff") {
		return errors.New(usage)
	}
	ours, err := readOverrides(args[1])
	if err != nil {
		return err
	}
	if scripts {
		return testScripts(ours, args[2])
	}
	return testDiff(ours, args[2], args[3])
}

func readInto(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func readObject(path string) (*unstructured.Unstructured, error) {
	object := map[string]any{}
	err := readInto(path, &object)
	return &unstructured.Unstructured{Object: object}, err
}

// The overrides as Argo CD's own settings make them of the ConfigMap, its defaults included.
func readOverrides(path string) (overrides, error) {
	configMap := corev1.ConfigMap{}
	if err := readInto(path, &configMap); err != nil {
		return nil, err
	}
	secret := corev1.Secret{Data: map[string][]byte{"server.secretkey": []byte("none")}}
	secret.Name, secret.Namespace, secret.Labels = "argocd-secret", configMap.Namespace, configMap.Labels
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cluster := fake.NewClientset(&configMap, &secret)
	return settings.NewSettingsManager(ctx, cluster, configMap.Namespace).GetResourceOverrides()
}

func testScripts(ours overrides, folder string) error {
	return filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch filepath.Base(path) {
		case "health_test.yaml":
			return testHealth(ours, path)
		case "action_test.yaml":
			return testActions(ours, path)
		default:
			return nil
		}
	})
}

func testHealth(ours overrides, path string) error {
	tests := healthTests{}
	if err := readInto(path, &tests); err != nil {
		return err
	}
	for _, test := range tests.Tests {
		object, err := readObject(filepath.Join(filepath.Dir(path), test.InputPath))
		if err != nil {
			return err
		}
		got, err := health.GetResourceHealth(object, lua.ResourceHealthOverrides(ours))
		if err == nil && (got == nil || *got != test.HealthStatus) {
			err = fmt.Errorf("it is %+v", got)
		}
		claim(fmt.Sprintf("%s at %s is %s", object.GetKind(), filepath.Base(test.InputPath), test.HealthStatus.Status), err)
	}
	return nil
}

func testActions(ours overrides, path string) error {
	tests := actionTests{}
	if err := readInto(path, &tests); err != nil {
		return err
	}
	folder, vm := filepath.Dir(path), lua.VM{ResourceOverrides: ours}
	for _, test := range tests.DiscoveryTests {
		object, err := readObject(filepath.Join(folder, test.InputPath))
		if err != nil {
			return err
		}
		claim(fmt.Sprintf("%s at %s has its actions", object.GetKind(), filepath.Base(test.InputPath)), offered(vm, object, test.Result))
	}
	for _, test := range tests.ActionTests {
		object, err := readObject(filepath.Join(folder, test.InputPath))
		if err != nil {
			return err
		}
		expected, err := readObject(filepath.Join(folder, test.ExpectedOutputPath))
		if err != nil {
			return err
		}
		claim(fmt.Sprintf("%s at %s after %s is %s", object.GetKind(), filepath.Base(test.InputPath), test.Action, filepath.Base(test.ExpectedOutputPath)), acted(vm, object, expected, test.Action))
	}
	return nil
}

func offered(vm lua.VM, object *unstructured.Unstructured, wanted []v1alpha1.ResourceAction) error {
	scripts, err := vm.GetResourceActionDiscovery(object)
	if err != nil {
		return err
	}
	got, err := vm.ExecuteResourceActionDiscovery(object, scripts)
	if err != nil {
		return err
	}
	for _, list := range [][]v1alpha1.ResourceAction{got, wanted} {
		sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	}
	if !reflect.DeepEqual(got, wanted) {
		return fmt.Errorf("they are %+v, not %+v", got, wanted)
	}
	return nil
}

func acted(vm lua.VM, object, expected *unstructured.Unstructured, name string) error {
	action, err := vm.GetResourceAction(object, name)
	if err != nil {
		return err
	}
	changed, err := vm.ExecuteResourceAction(object, action.ActionLua, nil)
	if err != nil {
		return err
	}
	if len(changed) != 1 || changed[0].K8SOperation != lua.PatchOperation {
		return fmt.Errorf("it does not patch the object alone: %+v", changed)
	}
	texts := [2][]byte{}
	for i, result := range []*unstructured.Unstructured{changed[0].UnstructuredObj, expected} {
		if annotations := result.GetAnnotations(); annotations[requestedAt] != "" {
			annotations[requestedAt] = "now"
			result.SetAnnotations(annotations)
		}
		// As text, for Lua has made floats of whole numbers.
		if texts[i], err = yaml.Marshal(result.Object); err != nil {
			return err
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		return fmt.Errorf("it is\n%s\nand not\n%s", texts[0], texts[1])
	}
	return nil
}

func testDiff(ours overrides, desiredPath, livePath string) error {
	desired, err := readObject(desiredPath)
	if err != nil {
		return err
	}
	live, err := readObject(livePath)
	if err != nil {
		return err
	}
	// What Argo CD puts into every object before it compares.
	if tracked := live.GetAnnotations()[common.AnnotationKeyAppInstance]; tracked != "" {
		annotations := desired.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[common.AnnotationKeyAppInstance] = tracked
		desired.SetAnnotations(annotations)
	}
	config, err := argodiff.NewDiffConfigBuilder().
		WithDiffSettings(nil, ours, false, normalizers.IgnoreNormalizerOpts{}).
		WithTracking("app.kubernetes.io/instance", string(v1alpha1.TrackingMethodAnnotation)).
		WithNoCache().
		Build()
	if err != nil {
		return err
	}
	differs := func(desired *unstructured.Unstructured) (bool, string, error) {
		found, err := argodiff.StateDiff(live, desired, config)
		return found.Modified, fmt.Sprintf("wanted %s\nbut there is %s", found.PredictedLive, found.NormalizedLive), err
	}
	changed := desired.DeepCopy()
	if err := unstructured.SetNestedField(changed.Object, true, "spec", "suspend"); err != nil {
		return err
	}
	if seen, _, err := differs(changed); err != nil || !seen {
		return fmt.Errorf("a changed spec.suspend is not seen (%w); the comparison means nothing", err)
	}
	modified, how, err := differs(desired)
	if err == nil && modified {
		err = errors.New(how)
	}
	claim(fmt.Sprintf("%s %s in the cluster does not differ from Git", live.GetKind(), live.GetName()), err)
	return nil
}
