import http.client

conn = http.client.HTTPSConnection("api.sirv.com")

payload = "{}"

headers = {
    'content-type': "application/json",
    'authorization': "Bearer BEARER_TOKEN_HERE"
    }

conn.request("POST", "/v2/files/jwt", payload, headers)

res = conn.getresponse()
data = res.read()

print(data.decode("utf-8"))
