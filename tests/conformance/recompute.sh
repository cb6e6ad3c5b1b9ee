#!/usr/bin/env bash
# Recomputes golden vectors with printf, sha256sum, od, base64 and openssl: what an auditor can do by hand.
#
#     tests/conformance/recompute.sh tests/vectors/book.json
#
# Python only takes the JSON file apart; it hashes and signs nothing. Ends with 1 at the first value that differs.
set -euo pipefail
shopt -s lastpipe # the end of a pipe runs in this shell, so that `same` can count and stop

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
checked=0
zeros=$(printf '0%.0s' {1..64})

# --- the JSON file as a table: path -> text in base64 ------------------------------------------

declare -A value
"${PYTHON:-python3}" -c '
import base64, json, sys
def walk(path, node):
    if not isinstance(node, (dict, list)):
        print(path[1:], base64.b64encode(str(node).encode()).decode(), sep="\t")
        return
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        walk(f"{path}/{key}", child)
walk("", json.load(open(sys.argv[1], encoding="utf-8")))
' "$1" | while IFS=$'\t' read -r path text; do value[$path]=$text; done

has() { [[ -n ${value[$1]+x} ]]; }
given() { printf %s "${value[$1]}" | base64 -d; }

# same <path>: what was recomputed, on stdin, is what the file gives at <path>
same() {
    if ! cmp -s - <(given "$1"); then
        printf 'differs: %s\n' "$1" >&2
        exit 1
    fi
    checked=$((checked + 1))
}

# --- bytes, hashes and keys -----------------------------------------------------------------------

unhex() {
    local hex=$1 escaped=
    while [[ $hex ]]; do
        escaped+="\\x${hex:0:2}"
        hex=${hex:2}
    done
    printf %b "$escaped"
}
hex() { od -An -v -tx1 | tr -d ' \n'; }
b64() { openssl base64 -A; }
sha256() {
    local line
    line=$(sha256sum)
    printf %s "${line%% *}"
}
node() { { printf '\x01' && unhex "$1" && unhex "$2"; } | sha256; }

# RFC 8410: a private key is this prefix and the seed, a public key is that prefix and the key
private_key() { unhex "302e020100300506032b657004220420$1" >"$folder/private.der"; }
public_key() { unhex "302a300506032b6570032100$1" >"$folder/public.der"; }

# public_of <seed>: the public key in hex
public_of() {
    private_key "$1"
    openssl pkey -inform DER -in "$folder/private.der" -pubout -outform DER | tail -c 32 | hex
}

# sign <seed>: the signature over stdin, in base64
sign() {
    private_key "$1"
    cat >"$folder/text"
    openssl pkeyutl -sign -rawin -inkey "$folder/private.der" -keyform DER -in "$folder/text" | b64
}

# verify <public key> <path of a signature in base64>: the signature fits stdin
verify() {
    public_key "$1"
    cat >"$folder/text"
    given "$2" | base64 -d >"$folder/signature"
    if ! openssl pkeyutl -verify -rawin -pubin -inkey "$folder/public.der" -keyform DER \
        -in "$folder/text" -sigfile "$folder/signature" >/dev/null 2>&1; then
        printf 'does not verify: %s\n' "$2" >&2
        exit 1
    fi
    checked=$((checked + 1))
}

# --- RFC 9162 section 2.1, over the array `leaves` ------------------------------------------------

leaves=()

# split <size>: the largest power of two below it
split() {
    local power=1
    while ((power * 2 < $1)); do power=$((power * 2)); done
    printf %s "$power"
}

# root <begin> <end>: MTH(D[begin:end])
root() {
    local begin=$1 end=$2 middle
    case $((end - begin)) in
    0) printf '' | sha256 ;;
    1) printf %s "${leaves[begin]}" ;;
    *)
        middle=$((begin + $(split $((end - begin)))))
        node "$(root "$begin" "$middle")" "$(root "$middle" "$end")"
        ;;
    esac
}

# path_of <index> <begin> <end>: PATH(m, D_n), one hash a line from the leaf's side up
path_of() {
    local index=$1 begin=$2 end=$3 middle
    ((end - begin > 1)) || return 0
    middle=$((begin + $(split $((end - begin)))))
    if ((index < middle)); then
        path_of "$index" "$begin" "$middle"
        printf '%s\n' "$(root "$middle" "$end")"
    else
        path_of "$index" "$middle" "$end"
        printf '%s\n' "$(root "$begin" "$middle")"
    fi
}

# consistency_of <first> <begin> <end> <whole>: SUBPROOF(m, D_n, b), one hash a line; `first` counts from leaf 0
consistency_of() {
    local first=$1 begin=$2 end=$3 whole=$4 middle
    if ((first == end)); then
        [[ $whole == yes ]] || printf '%s\n' "$(root "$begin" "$end")"
        return 0
    fi
    middle=$((begin + $(split $((end - begin)))))
    if ((first <= middle)); then
        consistency_of "$first" "$begin" "$middle" "$whole"
        printf '%s\n' "$(root "$middle" "$end")"
    else
        consistency_of "$first" "$middle" "$end" no
        printf '%s\n' "$(root "$begin" "$middle")"
    fi
}

# same_lines <path of a list>: the lines on stdin are the list
same_lines() {
    local line index=0
    while read -r line; do
        printf %s "$line" | same "$1/$index"
        index=$((index + 1))
    done
    if has "$1/$index"; then
        printf 'differs: %s is longer\n' "$1" >&2
        exit 1
    fi
}

# --- entries and envelopes --------------------------------------------------------------------------

declare -A link # "<stream> <sequence>" -> entry hash

# entry <path of an event> <stream>: its body hash, its entry and its entry hash
entry() {
    local at=$1 stream=$2 sequence body_hash previous
    sequence=$(given "$at/sequence")
    previous=${link["$stream $((sequence - 1))"]:-$zeros}
    given "$at/body" | sha256 | same "$at/body_sha256"
    body_hash=$(given "$at/body" | sha256)
    printf 'energy-ledger/v1\n%s\n%s\n%s\n%s\n%s\n' \
        "$community" "$stream" "$sequence" "$previous" "$body_hash" >"$folder/entry"
    same "$at/entry" <"$folder/entry"
    { printf '\x00' && cat "$folder/entry"; } | sha256 | same "$at/entry_hash"
    link["$stream $sequence"]=$({ printf '\x00' && cat "$folder/entry"; } | sha256)
}

runs=() # of the envelope at hand: its parts between `"runs":[` and `]`
lines=  # .. and the lines of its signed text

# run <stream> <path of an event>..: consecutive events of one stream
run() {
    local stream=$1 first last previous bodies=
    shift
    first=$(given "$1/sequence")
    previous=${link["$stream $((first - 1))"]:-$zeros}
    for at in "$@"; do
        entry "$at" "$stream"
        bodies+=${bodies:+,}$(given "$at/body")
    done
    last=$((first + $# - 1))
    runs+=("{\"bodies\":[$bodies],\"first\":$first,\"previous\":\"$previous\",\"stream\":\"$stream\"}")
    lines+="$stream $first $last ${link["$stream $last"]}"$'\n'
}

# envelope <device> <public key> <path of json> <path of signed text> <path of signature>
envelope() {
    local device=$1 public=$2 json=$3 text=$4 signature=$5 key joined
    key=$(unhex "$public" | sha256)
    joined=$(IFS=, && printf %s "${runs[*]}")
    printf 'energy-ledger/envelope/v1\n%s\n%s\n%s' "$community" "$device" "$lines" | same "$text"
    given "$text" | verify "$public" "$signature"
    printf '{"community":"%s","device":"%s","key":"%s","runs":[%s],"signature":"%s"}' \
        "$community" "$device" "${key:0:16}" "$joined" "$(given "$signature")" | same "$json"
    runs=() lines=
}

# --- the files ----------------------------------------------------------------------------------------

# keys <path of a key>: the public key follows from the seed, its name from the public key
key() {
    public_of "$(given "$1/private_seed_hex")" | same "$1/public_hex"
    if has "$1/key"; then
        local name
        name=$(unhex "$(given "$1/public_hex")" | sha256)
        printf %s "${name:0:16}" | same "$1/key"
    fi
}

book() {
    community=campus
    key device
    key log
    local stream i j at=()
    for ((i = 0; ; i++)); do
        has "streams/$i/stream" || break
        stream=$(given "streams/$i/stream") at=()
        for ((j = 0; ; j++)); do
            has "streams/$i/events/$j/body" || break
            at+=("streams/$i/events/$j")
        done
        run "$stream" "${at[@]}"
        for ((j = 1; j <= ${#at[@]}; j++)); do leaves+=("${link["$stream $j"]}"); done
    done
    envelope gw-1 "$(given device/public_hex)" envelope/json envelope/signed_text envelope/signature
    for ((i = 0; i <= 4; i++)); do root 0 "$i" | same "tree/roots_hex/$i"; done
    path_of 2 0 4 | same_lines tree/inclusion_of_2_in_4_hex
    consistency_of 2 0 4 yes | same_lines tree/consistency_2_to_4_hex
    consistency_of 3 0 4 yes | same_lines tree/consistency_3_to_4_hex
    checkpoint
    block
}

checkpoint() {
    local origin public id typed signature at
    origin=$(given log/origin) public=$(given log/public_hex)
    id=$({ printf '%s\n\x01' "$origin" && unhex "$public"; } | sha256)
    typed=$(unhex "01$public" | b64)
    printf '%s+%s+%s' "$origin" "${id:0:8}" "$typed" | same log/verifier_key
    printf '%s\n4\n%s\n' "$origin" "$(unhex "$(root 0 4)" | b64)" >"$folder/checkpoint"
    signature=$(sign "$(given log/private_seed_hex)" <"$folder/checkpoint" | base64 -d | hex)
    printf '\n— %s %s\n' "$origin" "$(unhex "${id:0:8}$signature" | b64)" >>"$folder/checkpoint"
    same checkpoint <"$folder/checkpoint"
    {
        printf 'c2sp.org/tlog-proof@v1\nindex 2\n'
        path_of 2 0 4 | while read -r at; do printf '%s\n' "$(unhex "$at" | b64)"; done
        printf '\n' && cat "$folder/checkpoint"
    } | same tlog_proof
}

block() {
    local sealed_at
    sealed_at=$(given block/bytes)
    sealed_at=${sealed_at#*'"sealed_at":"'}
    printf '{"community":"%s","number":1,"previous":"%s","root":"%s","sealed_at":"%s","size":4}' \
        "$community" "$zeros" "$(root 0 4)" "${sealed_at%%'"'*}" | same block/bytes
    given block/bytes | sha256 | same block/hash
}

scenario() {
    community=$(given community)
    local -A public
    local i j stream code at
    for ((i = 0; ; i++)); do
        has "keys/$i/name" || break
        key "keys/$i"
        public[$(given "keys/$i/name")]=$(given "keys/$i/public_hex")
    done
    for ((i = 0; ; i++)); do
        has "steps/$i/code" || break
        code=$(given "steps/$i/code") at=()
        for ((j = 0; ; j++)); do
            has "steps/$i/events/$j/body" || break
            at+=("steps/$i/events/$j")
            stream=$(given "steps/$i/events/$j/stream")
            # the last event of a run: the next is of another stream, or there is none
            if ! has "steps/$i/events/$((j + 1))/body" ||
                [[ $(given "steps/$i/events/$((j + 1))/stream") != "$stream" ]]; then
                run "$stream" "${at[@]}"
                at=()
            fi
            [[ $code != recorded ]] || pending+=("$stream $(given "steps/$i/events/$j/sequence")")
        done
        envelope "$(given "steps/$i/device")" "${public[$(given "steps/$i/signer")]}" \
            "steps/$i/envelope" "steps/$i/signed_text" "steps/$i/signature"
        for at in "${pending[@]}"; do leaves+=("${link[$at]}"); done
        pending=()
    done
    printf %s "${#leaves[@]}" | same tree/size
    root 0 "${#leaves[@]}" | same tree/root
    if has possession/signed_text; then
        printf 'energy-ledger/possession/v1\n%s\ngw-1\n%s\n' "$community" \
            "${public[$(given possession/signer)]}" | same possession/signed_text
        given possession/signed_text | verify "${public[$(given possession/signer)]}" possession/signature
    fi
}
pending=()

receipts() {
    key keys/0
    local i path
    for ((i = 0; ; i++)); do
        has "answers/$i" || break
        { printf '\x00' && given "answers/$i"; } | sha256 | same "leaf_hashes_hex/$i"
        leaves+=("$(given "leaf_hashes_hex/$i")")
    done
    root 0 "${#leaves[@]}" | same root_hex
    printf 'energy-ledger/receipts/v1\ncampus\n%s\n%s\n' "${#leaves[@]}" "$(given root_hex)" | same signed_text
    given signed_text | verify "$(given keys/0/public_hex)" signature
    for ((i = 0; i < ${#leaves[@]}; i++)); do
        path=$(path_of "$i" 0 "${#leaves[@]}" | while read -r node; do printf ',"%s"' "$node"; done)
        printf '{"answer":%s,"index":%s,"path":[%s],"signature":"%s","size":%s}' "$(given "answers/$i")" \
            "$i" "${path:1}" "$(given signature)" "${#leaves[@]}" | same "receipts/$i"
    done
}

# The small ones of a growing tree: a process for each hash makes the large ones slow.
tree() {
    local i size first
    for ((i = 0; i < 9; i++)); do leaves+=("$({ printf '\x00' && printf %s "$i"; } | sha256)"); done
    for ((i = 0; i <= 9; i++)); do root 0 "$i" | same "roots/$i"; done
    for ((i = 0; ; i++)); do
        has "inclusion/$i/size" || break
        size=$(given "inclusion/$i/size")
        ((size <= 9)) || continue
        path_of "$(given "inclusion/$i/index")" 0 "$size" | same_lines "inclusion/$i/path"
    done
    for ((i = 0; ; i++)); do
        has "consistency/$i/second" || break
        first=$(given "consistency/$i/first") size=$(given "consistency/$i/second")
        ((size <= 9)) || continue
        consistency_of "$first" 0 "$size" yes | same_lines "consistency/$i/path"
    done
}

if has block/hash; then
    book
elif has steps/0/code; then
    scenario
elif has receipts/0; then
    receipts
elif has tiles/0/path; then
    tree
fi
if ((checked == 0)); then
    printf 'nothing to recompute in %s\n' "$1" >&2
    exit 1
fi
printf '%s values recomputed\n' "$checked"
