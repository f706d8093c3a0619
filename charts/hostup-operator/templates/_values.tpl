{{- /*
Completes .Values in place; every template begins with it. A value that is null gets its default. A setting in extraEnv or
extraArgs becomes the value that sets it, so that everything that depends on the value follows. A setting without a value
stays in extraArgs, once for each flag.
*/ -}}
{{- define "hostup-operator.complete" -}}
{{- $values := .Values -}}
{{- range $path, $default := .Files.Get "files/defaults.json" | fromJson -}}
  {{- $path = splitList "." $path -}}
  {{- $section := $values -}}
  {{- range initial $path -}}
    {{- if kindIs "invalid" (index $section .) -}}{{- $_ := set $section . dict -}}{{- end -}}
    {{- $section = index $section . -}}
  {{- end -}}
  {{- if kindIs "invalid" (index $section (last $path)) -}}{{- $_ := set $section (last $path) $default -}}{{- end -}}
{{- end -}}
{{- $flags := .Files.Get "files/flags.yaml" | fromYaml -}}
{{- $settings := dict -}}
{{- $names := dict -}}
{{- range $flags.settings -}}
  {{- $name := .flag | default .variable -}}
  {{- $_ := set $settings $name . -}}
  {{- $_ := set $names (include "hostup-operator.variable" .) $name -}}
{{- end -}}
{{- $said := dict -}}
{{- $env := list -}}
{{- range $values.extraEnv -}}
  {{- if or .valueFrom (not (hasKey $names .name)) -}}
    {{- $env = append $env . -}}
  {{- else if .value | default "" | trim -}}
    {{- $_ := set $said (get $names .name) (trim .value) -}}
  {{- end -}}
{{- end -}}
{{- $open := "" -}}
{{- range $values.extraArgs -}}
  {{- if hasPrefix "--" . -}}
    {{- $parts := splitn "=" 2 (trimPrefix "--" .) -}}
    {{- $setting := get $settings $parts._0 | default dict -}}
    {{- if not $setting.flag -}}{{- fail (printf "extraArgs: %q is not a flag of the operator" .) -}}{{- end -}}
    {{- $open = ternary "" $parts._0 (contains "=" .) -}}
    {{- $_ := set $said $parts._0 (ternary "true" (trim $parts._1) (and (eq $setting.takes "switch") (ne $open ""))) -}}
  {{- else if $open -}}
    {{- $_ := set $said $open (trim .) -}}
    {{- $open = "" -}}
  {{- else -}}
    {{- fail (printf "extraArgs: %q is not a flag of the operator" .) -}}
  {{- end -}}
{{- end -}}
{{- $args := list -}}
{{- range $name, $text := $said -}}
  {{- $setting := get $settings $name -}}
  {{- $grammar := get $flags.grammars $setting.takes -}}
  {{- $fits := regexMatch $grammar.pattern $text -}}
  {{- if and $fits $grammar.most -}}{{- $fits = le (int64 $text) (int64 $grammar.most) -}}{{- end -}}
  {{- if not (or $fits (and $grammar.expands (regexMatch "\\$\\([A-Za-z_][A-Za-z0-9_]*\\)" $text))) -}}
    {{- fail (printf "extraArgs or extraEnv: %s %q is not %s" (ternary (printf "--%s" $name) $name (hasKey $setting "flag")) $text $grammar.words) -}}
  {{- end -}}
  {{- if not $setting.value -}}
    {{- $args = append $args (printf "--%s=%s" $name $text) -}}
  {{- else -}}
    {{- $value := $text -}}
    {{- if eq $setting.takes "switch" -}}{{- $value = eq $text "true" -}}
    {{- else if eq $setting.takes "namespaces" -}}{{- $value = splitList "," $text | uniq -}}
    {{- else if $grammar.most -}}{{- $value = int64 $text -}}
    {{- end -}}
    {{- $section := $values -}}
    {{- $path := splitList "." $setting.value -}}
    {{- range initial $path -}}{{- $section = index $section . -}}{{- end -}}
    {{- $_ := set $section (last $path) $value -}}
  {{- end -}}
{{- end -}}
{{- $_ := set $values "extraArgs" $args -}}
{{- $_ := set $values "extraEnv" $env -}}
{{- end -}}

{{- /* The environment variable of a setting. */ -}}
{{- define "hostup-operator.variable" -}}
{{- .variable | default (.flag | default "" | upper | replace "-" "_") -}}
{{- end -}}

{{- /* The arguments of the operator, as a YAML list: of the values, then those that no value sets. */ -}}
{{- define "hostup-operator.args" -}}
{{- $env := list -}}
{{- range .Values.extraEnv -}}{{- $env = append $env .name -}}{{- end -}}
{{- $args := list "run" -}}
{{- range (.Files.Get "files/flags.yaml" | fromYaml).settings -}}
  {{- if and .flag .value (not (has (include "hostup-operator.variable" .) $env)) -}}
    {{- $value := $.Values -}}
    {{- range splitList "." .value -}}{{- $value = index $value . -}}{{- end -}}
    {{- $text := toString $value -}}
    {{- if kindIs "slice" $value -}}{{- $text = join "," $value -}}
    {{- else if or (kindIs "float64" $value) (kindIs "int64" $value) (kindIs "int" $value) -}}{{- $text = int64 $value | toString -}}
    {{- end -}}
    {{- if eq $text "" -}}
    {{- else if and (eq .takes "switch") (not .default) -}}
      {{- if $value -}}{{- $args = append $args (printf "--%s" .flag) -}}{{- end -}}
    {{- else -}}
      {{- $args = append $args (printf "--%s=%s" .flag $text) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toYaml (concat $args .Values.extraArgs) -}}
{{- end -}}

{{- /* The environment of the operator, as a YAML list. Of two variables with one name the user's, and the last, counts. */ -}}
{{- define "hostup-operator.env" -}}
{{- $env := dict -}}
{{- $order := list -}}
{{- $own := list
  (dict "name" "OPERATOR_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace")))
  (dict "name" "RUST_LOG" "value" .Values.log.level) -}}
{{- range concat $own .Values.extraEnv -}}
  {{- $order = append (without $order .name) .name -}}
  {{- $_ := set $env .name . -}}
{{- end -}}
{{- $all := list -}}
{{- range $order -}}{{- $all = append $all (get $env .) -}}{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{- /* A duration in milliseconds. */ -}}
{{- define "hostup-operator.milliseconds" -}}
{{- mul (regexFind "^[0-9]+" . | int64) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+$" .)) -}}
{{- end -}}
