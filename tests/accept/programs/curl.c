// Makes the system's libcurl connect, to where nobody listens.
#include <curl/curl.h>

int main(void) {
    CURL *curl = curl_easy_init();
    if (curl == NULL) return 1;
    curl_easy_setopt(curl, CURLOPT_URL, "http://127.0.0.1:9/");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    return curl_easy_perform(curl) == CURLE_COULDNT_CONNECT ? 0 : 2;
}
