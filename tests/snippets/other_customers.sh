# Customer SUB tries to read what is customer 42's, with every kind of token that proxy.toml gives it, at every route, and
# prints how many times it asked. Whatever is found is printed. Expects GATE, ISSUER, SUB and SCOPES.
set -euo pipefail
export no_proxy='*'
asked=0
JSON='Content-Type: application/json'
theirs=(/customers/42/invoices/42.pdf /api/public/billing/invoices/42/pdf /en/api/public/billing/invoices/42/pdf
    /invoices/download/42 /en/invoices/download/42 /channels/sample/customers/42/invoices/42.pdf
    /docs/../customers/42/invoices/42.pdf /channels/sample/hls/../customers/42/invoices/42.pdf)
look() { # the answer's body against customer 42's invoice
    asked=$((asked + 1))
    curl -sS --path-as-is -o got "$@" || true
    if cmp -s got demo/media/customers/42/invoices/42.pdf; then echo "found with: $*"; fi
}
everywhere() { # TOKEN
    for path in "${theirs[@]}"; do
        for name in t jwt token; do look "$GATE$path?$name=$1"; done
        look "$GATE$path" -H "Authorization: Bearer $1" -H "Cookie: media=$1; session=$1"
        look "$GATE/~$1$path"
    done
    look "$GATE/media/1/download/$1"
}
for scope in "${SCOPES[@]}"; do
    auth="Authorization: Bearer $(mediagate token caller --sub "$SUB" --scope "$scope")"
    once() { curl -sS -X POST "$ISSUER/api/sys/users/token/refresh" -H "$auth" | jq -r '.Value // empty'; }
    bearers=("$auth")
    exchanged=$(curl -sS -X POST "$ISSUER/api/sys/users/exchange?token=$(once)&validForInMinutes=5" | jq -r '.token // empty')
    if [ -n "$exchanged" ]; then bearers+=("Authorization: Bearer $exchanged"); fi
    for bearer in "${bearers[@]}"; do
        everywhere "$(curl -sS "$ISSUER/api/auth/media/customer" -H "$bearer" | jq -r '.jwt // "none"')"
        for path in "${theirs[0]}" "${theirs[1]}" '/**' '/customers/**' /docs/; do
            for body in "\"paths\":[\"$path\"]" "\"paths\":[\"$path\"],\"sub\":\"42\"" "\"media\":\"1\""; do
                for scheme in jwt opaque; do
                    token=$(curl -sS "$ISSUER/v1/tokens" -H "$bearer" -H "$JSON" -d "{\"scheme\":\"$scheme\",$body}" | jq -r '.token // empty')
                    if [ -n "$token" ]; then everywhere "$token"; fi
                done
            done
            url=$(curl -sS "$ISSUER/v2/files/jwt" -H "$bearer" -H "$JSON" -d "{\"filename\":\"$path\",\"expiresIn\":60}" | jq -r '.url // empty')
            if [ -n "$url" ]; then everywhere "${url##*jwt=}"; fi
        done
        for url in $(curl -sS -X POST "$ISSUER/media/1/download-token" -H "$bearer" | jq -r '.url // empty') \
            $(curl -sS -X PUT "$ISSUER/invoices/1/download-link" -H "$bearer" | jq -r '.url // empty'); do
            look "$url"
        done
        for path in "${theirs[@]}"; do
            token=$(curl -sS "$ISSUER/api/v1/tokens/media.json?requestor=sampleRequestorId&deviceId=a&resource=sampleResourceId" \
                -H "$bearer" -H 'X-Device-Info: e30=' -H "X-Forwarded-For: 10.3.$((RANDOM % 250)).$((RANDOM % 250))" |
                jq -r '.serializedToken // empty')
            if [ -n "$token" ]; then look "$GATE$path?token=$token"; fi
        done
    done
    for path in "${theirs[@]}"; do
        rm -f jar
        look -L -c jar -b jar "$GATE/login?t=$(once)&redirectUrl=$(jq -rn --arg path "$path" '$path | @uri')"
        look -b jar "$GATE$path"
    done
done
echo "$asked"
