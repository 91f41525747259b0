#!/bin/sh
# An engine in a dozen lines of shell: one thing at a time, no JSON library.
field() { printf '%s' "$line" | sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
while IFS= read -r line; do
    number=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\)[,}].*/\1/p')
    case $(field method) in
    describe) result='{"protocol":1,"services":["hello"]}' ;;
    run)
        run=$(printf '%s' "$line" | grep -o '"id":"[0-9a-f]*-[0-9a-f-]*"' | head -n 1)
        printf '{"jsonrpc":"2.0","method":"progress","params":{%s,"fraction":0.5}}\n' "$run"
        printf 'from the shell' >"$(field scratch)/out.txt"
        result='{"outputs":[{"path":"out.txt"}]}'
        ;;
    *) result='{}' ;;
    esac
    printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$number" "$result"
done
